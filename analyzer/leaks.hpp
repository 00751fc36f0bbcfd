// What lies in clusters without an owner: a leak that is really lost data is called what it is. Promises: each leaked
// cluster is read once, in batches, and of what is plainly no table only the first bytes. Hands on: which leaked
// clusters may be tables; nothing here decides to free anything.
#pragma once
#include <span>
#include <vector>

#include "analyzer/content.hpp"
#include "analyzer/image.hpp"
#include "analyzer/labels.hpp"
#include "analyzer/refcounts.hpp"
#include "analyzer/walk.hpp"

namespace cowvet::analyzer {

// Sorts leaked clusters by their content. It knows no labels, so it does not matter in which window one is found.
class LeakSurvey {
 public:
  LeakSurvey(Image& image, const ScanRules& rules);

  // Looks into `count` leaked clusters from `first`. Calls come in ascending order.
  void look_at(std::uint64_t first, std::uint64_t count);
  // Afterwards all clusters have been looked at.
  void finish();

  // Clusters that may be tables, ascending: the content of all of them has to be looked at.
  [[nodiscard]] const std::vector<std::uint64_t>& tables() const { return tables_; }
  [[nodiscard]] const std::vector<std::uint64_t>& snapshot_tables() const { return snapshot_tables_; }
  // How many clusters hold something else.
  [[nodiscard]] std::uint64_t data() const { return data_; }

 private:
  void read_heads();
  [[nodiscard]] Content look_behind_head(std::uint64_t cluster);
  void sort_in(std::uint64_t cluster, Content content);

  static constexpr std::size_t most_at_once = 64;
  static constexpr std::size_t most_tables = 1U << 16;

  Image& image_;
  ScanRules rules_;
  std::uint64_t head_;                  // bytes
  std::vector<std::uint64_t> queue_;    // clusters whose heads are read next
  std::vector<std::byte> heads_, all_;  // the heads of a batch; one cluster
  std::vector<std::uint64_t> tables_, snapshot_tables_;
  std::uint64_t data_ = 0;
};

// Reads the clusters that are free and not counted, and reports those that hold something. Reads all of them:
// for --deep.
void examine_free(Image& image, const MappingWalk& walk, const LabelMap& labels,
                  std::span<const Mismatch> leaks);

}  // namespace cowvet::analyzer
