// All that one L1 table refers to, taken together: what snapshots count up and down. Promises: a count that
// does not fit is an error after which all counts are as before.
#pragma once
#include <cstdint>
#include <functional>
#include <vector>

#include "engine/changes.hpp"
#include "engine/image.hpp"

namespace cowvet::engine {

class MappingTree {
 public:
  MappingTree(Image& image, Changes& changes) : image_(image), changes_(changes) {}

  // One owner more, or less, for each L2 table and each cluster behind it; the L1 table itself is not counted.
  // lower(): nothing durable may use the tree any more.
  [[nodiscard]] base::Result<void> raise(const std::vector<std::uint64_t>& l1);
  [[nodiscard]] base::Result<void> lower(const std::vector<std::uint64_t>& l1);

  // Takes COPIED from all entries: of the L2 tables, and of the L1 table if it is the active one.
  [[nodiscard]] base::Result<void> clear_copied(const std::vector<std::uint64_t>& l1);
  // Gives COPIED to the entries of the active mapping whose clusters have one owner. The counts must be durable.
  [[nodiscard]] base::Result<void> set_copied();

 private:
  using Visit = std::function<base::Result<void>(Clusters)>;
  // Visits what the first `most` references name, table by table: its clusters, then the table. `done` counts them.
  [[nodiscard]] base::Result<void> walk(const std::vector<std::uint64_t>& l1, const Visit& visit,
                                        std::uint64_t most, std::uint64_t& done);
  [[nodiscard]] base::Result<TablePointer> table(std::uint64_t word) const;

  Image& image_;
  Changes& changes_;
};

}  // namespace cowvet::engine
