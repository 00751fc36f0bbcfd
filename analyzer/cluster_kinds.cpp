#include "analyzer/cluster_kinds.hpp"

#include <algorithm>
#include <utility>

namespace cowvet::analyzer {

ClusterKinds::ClusterKinds(MappingWalk& walk, const MetadataMap& metadata,
                           std::vector<std::uint64_t> clusters)
    : walk_(walk), metadata_(metadata), geometry_(walk.rules().geometry), clusters_(std::move(clusters)) {
  std::ranges::sort(clusters_);
  clusters_.erase(std::unique(clusters_.begin(), clusters_.end()), clusters_.end());
  kinds_ = std::make_unique<std::atomic<std::uint8_t>[]>(clusters_.size());
}

base::Result<void> ClusterKinds::collect() {
  if (clusters_.empty()) return {};
  for (const auto& region : metadata_.regions()) {
    if (region.length == 0) continue;
    const std::uint64_t first = geometry_.cluster_of(region.begin).raw();
    const std::uint64_t last =
        base::saturating_add(region.begin.raw(), region.length - 1) >> geometry_.cluster_bits();
    add(first, last - first + 1, region.kind);
  }
  for (const auto block : metadata_.blocks()) add(block, 1, Kind::refcount_block);
  return walk_.run(*this);
}

Kind ClusterKinds::of(std::uint64_t cluster) const {
  const auto it = std::ranges::lower_bound(clusters_, cluster);
  if (it == clusters_.end() || *it != cluster) return Kind::free;
  return static_cast<Kind>(kinds_[static_cast<std::size_t>(it - clusters_.begin())].load());
}

void ClusterKinds::group(const Group& group, unsigned) {
  for (const auto& use : group.uses) add(geometry_.cluster_of(use.table).raw(), 1, Kind::l2);
}

void ClusterKinds::owned(const Group&, std::span<const Owned> items, unsigned) {
  for (const auto& item : items) {
    const bool compressed = item.run.type == EntryType::compressed;
    if (!compressed && walk_.rules().external_data) continue;
    const auto [first, count] = host_clusters(item.run, geometry_);
    add(first, count, compressed ? Kind::compressed : Kind::data);
  }
}

// Kinds merge as labels do, but for a table that several L1 entries name: that has a rule of its own.
void ClusterKinds::add(std::uint64_t first, std::uint64_t count, Kind kind) {
  auto it = std::ranges::lower_bound(clusters_, first);
  for (; it != clusters_.end() && *it - first < count; ++it) {
    auto& known = kinds_[static_cast<std::size_t>(it - clusters_.begin())];
    std::uint8_t seen = known.load();
    for (;;) {
      const auto before = static_cast<Kind>(seen);
      const bool same = before == kind && (kind == Kind::l2 || kind == Kind::compressed);
      const auto merged = before == Kind::free || same ? kind : Kind::contested;
      if (known.compare_exchange_weak(seen, std::to_underlying(merged))) break;
    }
  }
}

}  // namespace cowvet::analyzer
