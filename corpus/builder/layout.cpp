#include "corpus/builder/layout.hpp"

#include <algorithm>
#include <set>
#include <utility>

#include <fmt/format.h>

namespace cowvet::corpus {

std::vector<NamedRegion> Layout::regions() const {
  std::vector<NamedRegion> list;
  const std::uint64_t cs = geometry.cluster_size();
  auto add = [&](std::string path, Kind kind, Region region) {
    if (region.length != 0) list.push_back({std::move(path), kind, region});
  };
  add("header", Kind::header, header);
  for (std::size_t i = 0; i < extensions.size(); ++i)
    add(fmt::format("ext[{}]", i), Kind::extension,
        {extensions[i].offset, 8 + (extensions[i].length + 7ULL) / 8 * 8});
  if (backing_name) add("backing_name", Kind::backing_name, *backing_name);
  add("reftable", Kind::refcount_table, refcount_table);
  for (auto [i, offset] : refcount_blocks)
    add(fmt::format("refblock[{}]", i), Kind::refcount_block, {offset, cs});
  add("l1", Kind::l1, active.l1());
  std::set<std::uint64_t> tables;
  for (auto [i, offset] : active.l2) {
    tables.insert(offset);
    add(fmt::format("l2[{}]", i), Kind::l2, {offset, cs});
  }
  add("snapshot_table", Kind::snapshot_table, snapshot_table);
  for (std::size_t k = 0; k < snapshots.size(); ++k) {
    add(fmt::format("snapshot[{}].l1", k), Kind::snapshot_l1, snapshots[k].mapping.l1());
    for (auto [i, offset] : snapshots[k].mapping.l2)
      if (tables.insert(offset).second)
        add(fmt::format("snapshot[{}].l2[{}]", k, i), Kind::snapshot_l2, {offset, cs});
  }
  add("bitmap_directory", Kind::bitmap_directory, bitmap_directory);
  for (std::size_t k = 0; k < bitmaps.size(); ++k) {
    add(fmt::format("bitmap[{}].table", k), Kind::bitmap_table, bitmaps[k].table);
    for (auto [i, offset] : bitmaps[k].data)
      add(fmt::format("bitmap[{}].data[{}]", k, i), Kind::bitmap_data, {offset, cs});
  }
  if (luks) add("luks", Kind::luks, *luks);
  for (const auto& [name, region] : reserved) add(name, Kind::reserved, region);
  std::ranges::sort(list, {}, [](const NamedRegion& r) { return std::pair(r.region.offset, r.kind); });
  return list;
}

std::optional<std::uint64_t> Layout::l2_entry_at(const MappingPlace& mapping,
                                                 std::uint64_t guest_cluster) const {
  auto table = mapping.l2.find(guest_cluster / geometry.l2_entries());
  if (table == mapping.l2.end()) return std::nullopt;
  return table->second + guest_cluster % geometry.l2_entries() * geometry.l2_entry_size();
}

std::optional<Region> Layout::data_of(const MappingPlace& mapping, std::uint64_t guest_cluster) const {
  auto at = l2_entry_at(mapping, guest_cluster);
  if (!at) return std::nullopt;
  const format::L2Entry entry{pristine.load(*at, 8)};
  if (entry.compressed()) {
    const auto range = geometry.compressed_range(entry);
    return Region{range.offset.raw(), range.length()};
  }
  if (entry.offset().raw() == 0 && !(external_data && entry.copied())) return std::nullopt;
  return Region{entry.offset().raw(), geometry.cluster_size()};
}

Layout::RefcountPlace Layout::refcount_in(std::uint64_t block_offset, std::uint64_t index) const {
  const std::uint32_t order = geometry.refcount_order();
  if (order >= 3) return {block_offset + (index << (order - 3)), std::size_t{1} << (order - 3), 0};
  return {block_offset + (index >> (3 - order)), 1, static_cast<std::uint32_t>((index << order) & 7)};
}

std::optional<Layout::RefcountPlace> Layout::refcount_of(std::uint64_t cluster) const {
  auto block = refcount_blocks.find(cluster >> geometry.block_bits());
  if (block == refcount_blocks.end()) return std::nullopt;
  return refcount_in(block->second, cluster & (geometry.block_entries() - 1));
}

}  // namespace cowvet::corpus
