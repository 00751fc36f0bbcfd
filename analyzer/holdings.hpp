// What tables hold that nothing else has: whether the clusters that a table names are counted for it. Every
// reference of a table that was lost is still in the refcounts; of a copy that was never used, or is no
// longer, none is. Promises: all of a table's entries are looked at; only clusters that tables name cost
// memory.
#pragma once
#include <span>
#include <vector>

#include "analyzer/refcounts.hpp"
#include "analyzer/walk.hpp"

namespace cowvet::analyzer {

struct Holding {
  std::uint64_t owned = 0;    // of the clusters that the table names, those that have owners
  std::uint64_t exact = 0;    // of these, those that are counted for their owners and nobody else
  std::uint64_t lost = 0;     // counted, but without an owner
  std::uint64_t entries = 0;  // that are not empty
  // No reference of this table is in the refcounts, as far as most of what it names says.
  [[nodiscard]] bool uncounted() const { return lost == 0 && owned != 0 && exact * 2 >= owned; }
};

// Of each of these clusters, read as a table.
[[nodiscard]] base::Result<std::vector<Holding>> holdings_of(Image& image, MappingWalk& walk,
                                                             const MetadataMap& metadata,
                                                             const Refcounts& refcounts,
                                                             std::span<const std::uint64_t> tables);

// The table in a cluster without COPIED bits; nothing when it can't be read whole.
[[nodiscard]] std::optional<std::vector<std::byte>> unflagged_table(const Image& image,
                                                                    std::uint64_t cluster);

}  // namespace cowvet::analyzer
