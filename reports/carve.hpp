// What disks an image held once: for a person and as JSON, described by reports/schemas/carve.json.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "repair/carve.hpp"
#include "repair/layer_map.hpp"
#include "reports/text.hpp"

namespace cowvet::reports {

struct CarveReport {
  std::string file;
  std::vector<repair::CarvedDisk> disks;  // numbered from 1
  std::uint64_t unplaced = 0;             // L2 tables whose place nothing tells
  struct Extracted {
    std::size_t number = 0;
    std::string file;
    repair::LayerMap map;
  };
  std::optional<Extracted> extracted;
};

[[nodiscard]] std::string carve_text(const CarveReport& report, const TextOptions& options);
[[nodiscard]] std::string carve_json(const CarveReport& report);

}  // namespace cowvet::reports
