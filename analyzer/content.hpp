// What the content of a cluster without an owner looks like, judged by itself. Promises: bounded memory whatever the
// bytes; data is hardly ever taken for a table. Hands on: what the entries name, for those who can ask who owns it.
#pragma once
#include <cstdint>
#include <vector>

#include "analyzer/l2_scan.hpp"
#include "base/bytes.hpp"
#include "format/snapshot.hpp"

namespace cowvet::analyzer {

enum class Content : std::uint8_t { empty, l2_table, snapshot_table, other };

// An entry of a table, and the cluster that it names.
struct NamedCluster {
  std::uint32_t entry = 0;
  std::uint64_t cluster = 0;
  friend auto operator<=>(const NamedCluster&, const NamedCluster&) = default;
};

struct ContentEvidence {
  Content content = Content::other;
  std::uint64_t entries = 0;  // that are not empty
  bool copied = false;        // one of them has COPIED set or is compressed: no bitmap's table has that
  std::vector<NamedCluster> named{};  // the first thousand, ascending
};

// L1 tables, L2 tables and bitmaps' tables have entries of the same shape: all of them are "l2_table" here.
[[nodiscard]] ContentEvidence classify(base::ConstBytes cluster, const ScanRules& rules);
// Whether an entry looks like one of a snapshot table, judged by itself and wherever it was found.
[[nodiscard]] bool looks_like_snapshot(const format::Snapshot& snapshot, const ScanRules& rules);

// How much of a cluster is looked at first, in bytes, and whether the whole may be a table if it begins like this.
inline constexpr std::uint64_t head_bytes = 4096;
[[nodiscard]] Content classify_head(base::ConstBytes head, const ScanRules& rules);

}  // namespace cowvet::analyzer
