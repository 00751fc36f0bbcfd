// Tables that an operation was making or giving up when it was stopped, as the header's scrap extension notes
// them: leaked, they are nothing lost. Promises: a note counts only as long as its table has no owner, and it
// and all that it names are byte for byte what the note speaks of.
#pragma once
#include <algorithm>
#include <vector>

#include "analyzer/walk.hpp"

namespace cowvet::analyzer {

struct Scrap {
  std::vector<std::uint64_t> tables;  // clusters of noted tables, ascending
  std::vector<std::uint64_t> named;   // clusters that these name, ascending
  [[nodiscard]] bool names(std::uint64_t cluster) const { return std::ranges::binary_search(named, cluster); }
  [[nodiscard]] bool has(std::uint64_t cluster) const {
    return names(cluster) || std::ranges::binary_search(tables, cluster);
  }
};

[[nodiscard]] base::Result<Scrap> read_scrap(Image& image, MappingWalk& walk, const MetadataMap& metadata);

}  // namespace cowvet::analyzer
