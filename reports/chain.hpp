// A chain, or a forest of chains, for a person (a tree), for programs (JSON, described by
// reports/schemas/chain.json) and for Graphviz (dot). Promises: each form says the same of each file; names
// can't disturb a terminal nor a document.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "analyzer/graph.hpp"
#include "analyzer/libvirt.hpp"
#include "reports/report.hpp"
#include "reports/text.hpp"

namespace cowvet::reports {

struct ChainReport {
  analyzer::Graph graph;
  std::vector<std::optional<Report>>
      checks;  // beside graph.nodes: the check of each image, where one was made
  std::optional<analyzer::Libvirt> libvirt{};  // where its XML was asked for
};

[[nodiscard]] std::string chain_text(const ChainReport& report, const TextOptions& options);
[[nodiscard]] std::string chain_json(const ChainReport& report);
[[nodiscard]] std::string chain_dot(const ChainReport& report);

// One line: "qcow2, disk of 1 GiB, 196 KiB in the file".
[[nodiscard]] std::string described(const analyzer::Node& node);

}  // namespace cowvet::reports
