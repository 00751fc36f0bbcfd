#include "analyzer/metadata_map.hpp"

#include <algorithm>
#include <utility>

#include "base/checked.hpp"

namespace cowvet::analyzer {

void MetadataMap::seal(const format::Geometry& geometry) {
  std::ranges::sort(blocks_);
  spans_.clear();
  spans_.reserve(regions_.size());
  for (const auto& region : regions_) {
    // A bitmap's data is no structure that is known by itself: a wrong entry there must not hide an L2 table.
    if (region.length == 0 || region.kind == Kind::bitmap_data) continue;
    const auto last = base::saturating_add(region.begin.raw(), region.length - 1);
    spans_.push_back(
        {geometry.cluster_of(region.begin).raw(), (last >> geometry.cluster_bits()) + 1, region.kind, 0});
  }
  std::ranges::sort(spans_, {}, [](const Span& s) { return std::pair(s.first, s.end); });
  std::uint64_t furthest = 0;
  for (auto& span : spans_) span.furthest = furthest = std::max(furthest, span.end);
}

void MetadataMap::label(LabelMap& labels, const format::Geometry& geometry) const {
  LabelMap::Session session(labels);
  for (const auto& region : regions_) {
    if (region.length == 0) continue;
    const std::uint64_t first = geometry.cluster_of(region.begin).raw();
    const std::uint64_t last =
        base::saturating_add(region.begin.raw(), region.length - 1) >> geometry.cluster_bits();
    session.add(first, last - first + 1, {region.kind, 1});
  }
}

std::optional<Kind> MetadataMap::owner(base::HostCluster cluster) const {
  if (std::ranges::binary_search(blocks_, cluster.raw())) return Kind::refcount_block;
  auto it = std::ranges::upper_bound(spans_, cluster.raw(), {}, &Span::first);
  while (it != spans_.begin()) {
    --it;
    if (cluster.raw() < it->end) return it->kind;
    if (cluster.raw() >= it->furthest) break;
  }
  return std::nullopt;
}

bool MetadataMap::contested(base::HostCluster cluster) const {
  std::size_t claims = std::ranges::binary_search(blocks_, cluster.raw()) ? 1 : 0;
  for (auto it = std::ranges::upper_bound(spans_, cluster.raw(), {}, &Span::first);
       it != spans_.begin() && claims < 2;) {
    --it;
    if (cluster.raw() >= it->furthest) break;
    if (cluster.raw() < it->end) ++claims;
  }
  return claims > 1;
}

}  // namespace cowvet::analyzer
