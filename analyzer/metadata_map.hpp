// Which clusters belong to metadata whose place is known before the walk. Promises: what was declared first does not
// matter, and asking costs little however many regions overlap. Hands on: the first labels.
#pragma once
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "analyzer/image.hpp"
#include "analyzer/labels.hpp"
#include "base/units.hpp"
#include "format/geometry.hpp"

namespace cowvet::analyzer {

// Metadata whose place is known before the walk: nobody may take it for an L2 table.
class MetadataMap {
 public:
  explicit MetadataMap(std::vector<Region> regions) : regions_(std::move(regions)) {
    regions_.shrink_to_fit();
  }
  void add_block(base::HostCluster block) { blocks_.push_back(block.raw()); }
  void seal(const format::Geometry& geometry);
  // Gives every region's clusters their label (refcount blocks are labelled by who has read their table).
  void label(LabelMap& labels, const format::Geometry& geometry) const;
  // What owns the cluster; nothing if no metadata does, or only the data of a bitmap.
  [[nodiscard]] std::optional<Kind> owner(base::HostCluster cluster) const;
  // Whether several regions claim the cluster, so that none of them can be believed.
  [[nodiscard]] bool contested(base::HostCluster cluster) const;
  [[nodiscard]] const std::vector<Region>& regions() const { return regions_; }
  [[nodiscard]] const std::vector<std::uint64_t>& blocks() const { return blocks_; }

 private:
  struct Span {
    std::uint64_t first, end;
    Kind kind;
    std::uint64_t furthest;  // highest end of this and all spans before it
  };
  std::vector<Region> regions_;
  std::vector<Span> spans_;            // ascending
  std::vector<std::uint64_t> blocks_;  // refcount blocks, ascending
};

class Refcounts;

}  // namespace cowvet::analyzer
