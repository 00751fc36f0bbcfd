#include "repair/owned_clusters.hpp"

#include <algorithm>

#include "base/checked.hpp"
#include "format/entries.hpp"
#include "format/refcounts.hpp"

namespace cowvet::repair {

namespace {

constexpr std::size_t most = 2U << 20;               // clusters that are known
constexpr std::uint64_t table_chunk = 256ULL << 10;  // bytes of a table read at once
constexpr std::uint64_t far = 64ULL << 40;  // a place that no cut explains: text in place of an entry
constexpr std::uint64_t cut_times = 1024;   // the part of a file that a cut may leave

bool beyond_reason(std::uint64_t host, std::uint64_t eof) { return host >= far && host / cut_times >= eof; }

bool foreign_place(base::HostOffset place, const format::Geometry& g, std::uint64_t eof) {
  return !g.aligned(place) || beyond_reason(place.raw(), eof);
}

// Calls use(index, word) for the 8-byte words of a table that are not zero; stops where the device does.
template <class UseWord>
void each_word(const storage::Device& device, base::HostOffset begin, std::uint64_t entries, UseWord&& use) {
  std::vector<std::byte> bytes;
  for (std::uint64_t at = 0; at < entries;) {
    const std::uint64_t count = std::min(entries - at, table_chunk / 8);
    bytes.resize(static_cast<std::size_t>(count * 8));
    const auto place = begin.plus(at * 8);
    if (!place || place->raw() >= device.size()) return;
    if (const auto extent = device.extent(place->raw()); extent.hole && extent.end >= place->raw() + 8) {
      at += (extent.end - place->raw()) / 8;
      continue;
    }
    (void)device.read(place->raw(), bytes);  // what can't be read is zeros: it names nothing
    const base::BigEndianTable<std::uint64_t> table(bytes);
    for (std::size_t i = 0; i < table.size(); ++i)
      if (table[i] != 0) use(at + i, table[i]);
    at += count;
  }
}

bool foreign_l1(std::uint64_t word, const format::Geometry& g, std::uint64_t eof) {
  const format::L1Entry entry{word};
  return entry.reserved() != 0 || foreign_place(entry.offset(), g, eof);
}

bool foreign_l2(format::L2Entry entry, const format::Geometry& g, std::uint64_t eof) {
  if (!entry.compressed()) return entry.reserved() != 0 || foreign_place(entry.offset(), g, eof);
  const auto range = g.compressed_range(entry);
  return beyond_reason(range.offset.raw(), eof) || range.offset.raw() < g.cluster_size();
}

// Block `index` of the refcount table counts something, most of it inside the file, and hardly ever to
// numbers that take thousands of snapshots. Of narrow refcounts any bytes may do.
bool looks_like_block(base::ConstBytes block, std::uint64_t index, const format::Geometry& g,
                      std::uint64_t eof) {
  std::uint64_t used = 0, odd = 0;
  const std::uint64_t plenty = std::min<std::uint64_t>(g.max_refcount(), 4096);
  const std::uint64_t first = index << g.block_bits(), end = g.clusters(eof);
  for (std::uint64_t i = 0; i < g.block_entries(); ++i) {
    const auto count = format::refcount_at(block, g.refcount_order(), i);
    if (count == 0) continue;
    ++used;
    odd += count > plenty || first + i >= end ? 1 : 0;
  }
  return used != 0 && odd * 4 <= used;
}

}  // namespace

TableLooks l1_looks(const storage::Device& device, const format::Geometry& geometry, base::HostOffset begin,
                    std::uint64_t entries) {
  TableLooks looks;
  each_word(device, begin, entries, [&](std::uint64_t, std::uint64_t word) {
    ++looks.entries;
    looks.foreign += foreign_l1(word, geometry, device.size()) ? 1U : 0U;
  });
  return looks;
}

TableLooks l2_looks(base::ConstBytes table, const format::Geometry& geometry, std::uint64_t eof) {
  TableLooks looks;
  const base::BigEndianTable<std::uint64_t> words(table);
  const std::size_t stride = geometry.extended_l2() ? 2 : 1;
  for (std::size_t i = 0; i + stride <= words.size(); i += stride) {
    const std::uint64_t second = stride == 2 ? words[i + 1] : 0;
    if (words[i] == 0 && second == 0) continue;
    ++looks.entries;
    const format::Subclusters bits{second};
    if (foreign_l2(format::L2Entry{words[i]}, geometry, eof) || (bits.allocated() & bits.zero()) != 0)
      ++looks.foreign;
  }
  return looks;
}

void OwnedClusters::add(base::HostCluster cluster, Kind kind, std::uint64_t index) {
  if (clusters_.size() < most) clusters_.push_back({cluster.raw(), static_cast<std::uint32_t>(index), kind});
}

void OwnedClusters::add_range(base::HostOffset begin, std::uint64_t length,
                              const format::Geometry& geometry) {
  const auto end = begin.plus(length);
  if (!end || length == 0) return;
  for (std::uint64_t c = geometry.cluster_of(begin).raw(); c < geometry.clusters(end->raw()); ++c)
    add(base::HostCluster{c}, Kind::structure);
}

void OwnedClusters::add_header(const storage::Device& device, const format::Header& header,
                               const format::Geometry& geometry) {
  const std::uint64_t eof = device.size();
  add_range(base::HostOffset{0}, geometry.cluster_size(), geometry);
  const auto table = header.v2.refcount_table_offset;
  const std::uint64_t length =
      std::min(std::uint64_t{header.v2.refcount_table_clusters} * geometry.cluster_size(),
               format::limits::max_refcount_table);
  if (!geometry.aligned(table) || table.raw() == 0 || table.raw() >= eof) return;
  const auto usable = [&](std::uint64_t word) {
    return (word & format::refcount_table_word.reserved_mask) == 0 &&
           !foreign_place(base::HostOffset{word}, geometry, eof);
  };
  std::uint64_t good = 0, bad = 0;
  each_word(device, table, length / 8,
            [&](std::uint64_t, std::uint64_t word) { ++(usable(word) ? good : bad); });
  if (bad >= 8 && bad > good) return;  // it is something else by now
  add_range(table, std::min(length, eof - table.raw()), geometry);
  each_word(device, table, length / 8, [&](std::uint64_t index, std::uint64_t word) {
    if (usable(word) && word < eof)
      add(geometry.cluster_of(base::HostOffset{word}), Kind::refcount_block, index);
  });
}

void OwnedClusters::add_l1(const storage::Device& device, const format::Geometry& geometry,
                           base::HostOffset begin, std::uint64_t entries) {
  const std::uint64_t eof = device.size();
  if (!geometry.aligned(begin) || begin.raw() == 0 || begin.raw() >= eof) return;
  if (l1_looks(device, geometry, begin, entries).is_none()) return;
  add_range(begin, std::min(entries * 8, eof - begin.raw()), geometry);
  each_word(device, begin, entries, [&](std::uint64_t, std::uint64_t word) {
    const auto place = format::L1Entry{word}.offset();
    if (!foreign_l1(word, geometry, eof) && place.raw() != 0 && place.raw() < eof)
      add(geometry.cluster_of(place), Kind::l2_table);
  });
}

void OwnedClusters::seal() {
  std::ranges::sort(clusters_);
  const auto same = std::ranges::unique(clusters_);
  clusters_.erase(same.begin(), same.end());
  clusters_.shrink_to_fit();
}

std::optional<std::uint64_t> OwnedClusters::first_in(std::uint64_t begin, std::uint64_t end,
                                                     const format::Geometry& geometry) const {
  const auto found =
      std::ranges::lower_bound(clusters_, begin >> geometry.cluster_bits(), {}, &Owned::cluster);
  if (found == clusters_.end()) return std::nullopt;
  const std::uint64_t place = found->cluster << geometry.cluster_bits();
  if (place >= end) return std::nullopt;
  return place;
}

Use OwnedClusters::judge(const storage::Device& device, const format::Geometry& geometry,
                         const Owned& owned) const {
  if (owned.kind == Kind::structure) return {"its place belongs to the image's own tables", true};
  std::vector<std::byte> bytes(static_cast<std::size_t>(geometry.cluster_size()));
  const auto got = device.read(owned.cluster << geometry.cluster_bits(), bytes);
  const bool readable = got.os_error == 0;
  if (owned.kind == Kind::refcount_block)
    return {"its place is a refcount block's",
            readable && looks_like_block(bytes, owned.index, geometry, device.size())};
  return {"its place is an L2 table's", readable && l2_looks(bytes, geometry, device.size()).is_one()};
}

Use OwnedClusters::find_use(const storage::Device& device, const format::Geometry& geometry,
                            std::uint64_t host, bool besides_l2) const {
  const std::uint64_t cluster = host >> geometry.cluster_bits();
  Use use;
  for (const auto& owned : std::ranges::equal_range(clusters_, cluster, {}, &Owned::cluster))
    if (!besides_l2 || owned.kind != Kind::l2_table)
      if (use = judge(device, geometry, owned); use.certain) return use;
  return use;
}

}  // namespace cowvet::repair
