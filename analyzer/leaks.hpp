// A leak that is really lost data is called what it is: clusters without an owner whose content looks like an
// L1 table, an L2 table or a snapshot table. Hands on: findings; nothing here decides to free anything.
#pragma once
#include <span>

#include "analyzer/image.hpp"
#include "analyzer/labels.hpp"
#include "analyzer/refcounts.hpp"
#include "analyzer/walk.hpp"

namespace cowvet::analyzer {

// Looks into the leaked clusters (ascending runs of the window).
void examine_leaks(Image& image, const MappingWalk& walk, const LabelMap& labels,
                   std::span<const Mismatch> leaks);

// Reads the clusters that are free and not counted, and reports those that hold something. Reads all of them:
// for --deep.
void examine_free(Image& image, const MappingWalk& walk, const LabelMap& labels,
                  std::span<const Mismatch> leaks);

// What a cluster's content looks like, judged by itself.
enum class Content : std::uint8_t { empty, l2_table, snapshot_table, other };
struct ContentEvidence {
  Content content = Content::other;
  std::uint64_t entries = 0;             // that are not empty
  bool copied = false;                   // one of them has COPIED set
  std::vector<std::uint64_t> targets{};  // clusters that they name; the first few thousand
};
[[nodiscard]] ContentEvidence classify(base::ConstBytes cluster, const ScanRules& rules);
// Whether an entry looks like one of a snapshot table, judged by itself and wherever it was found.
[[nodiscard]] bool looks_like_snapshot(const format::Snapshot& snapshot, const ScanRules& rules);

}  // namespace cowvet::analyzer
