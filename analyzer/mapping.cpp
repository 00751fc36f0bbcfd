#include "analyzer/mapping.hpp"

#include <algorithm>
#include <array>
#include <bit>

#include <fmt/format.h>

#include "base/checked.hpp"
#include "format/refcounts.hpp"

namespace cowvet::analyzer {

namespace {

constexpr std::uint64_t l1_piece_entries = 8192;
constexpr std::uint64_t l1_entry_size = 8;

base::Result<void> read_exactly(const storage::Device& device, std::uint64_t offset,
                                base::MutableBytes into) {
  const auto request = device.read(offset, into);
  if (request.os_error == 0) return {};
  return base::fail(base::ErrorKind::io,
                    fmt::format("can't be read at offset {:#x}: copy it to a sound disk", offset),
                    request.os_error);
}

std::unexpected<base::Error> damaged(std::uint64_t guest, std::string_view what) {
  return base::fail(base::ErrorKind::usage,
                    fmt::format("guest offset {:#x}: {}: 'cowvet check' tells what is wrong", guest, what));
}

// Whether b continues a, so that both are one extent.
bool continues(const GuestExtent& a, const GuestExtent& b) {
  if (a.allocated != b.allocated || a.zero != b.zero || a.data != b.data || a.compressed != b.compressed)
    return false;
  if (!a.host || !b.host) return !a.host && !b.host;
  return a.host->raw() + a.length == b.host->raw();
}

// The part of an extent from `offset` on, up to `end`.
GuestExtent clipped(GuestExtent extent, std::uint64_t offset, std::uint64_t end) {
  const std::uint64_t skipped = offset - extent.begin.raw();
  extent.begin = base::GuestOffset{offset};
  extent.length = std::min(extent.length - skipped, end - offset);
  if (extent.host) extent.host = base::HostOffset{extent.host->raw() + skipped};
  return extent;
}

}  // namespace

Mapping::Mapping(const Layer& layer) : layer_(layer) {}

base::Result<GuestExtent> Mapping::at(base::GuestOffset offset) {
  const std::uint64_t at = offset.raw();
  if (at < current_.begin.raw() || at >= current_.end()) {
    auto found = layer_.info.qcow2() ? find(at) : raw_extent(at);
    if (!found) return found;
    current_ = *found;
  }
  return clipped(current_, at, size());
}

GuestExtent Mapping::raw_extent(std::uint64_t offset) const {
  GuestExtent extent{.begin = base::GuestOffset{offset}, .allocated = true, .host = base::HostOffset{offset}};
  const std::uint64_t eof = layer_.device->size();
  if (offset >= eof) {  // the rest of the last sector
    extent.length = size() - offset;
    extent.zero = true;
    return extent;
  }
  const auto run = layer_.device->extent(offset);
  extent.length = run.end - offset;
  extent.zero = run.hole;
  extent.data = !run.hole;
  return extent;
}

// A span without an L2 table, together with those behind it that have none; otherwise what the L2 table says.
base::Result<GuestExtent> Mapping::find(std::uint64_t offset) {
  const std::uint64_t span = layer_.info.geometry->span();
  std::uint64_t index = offset / span;
  std::uint64_t end = offset;
  for (; end < size(); ++index) {
    if (index >= layer_.info.header->v2.l1_size) {  // no table leads any further
      end = size();
      break;
    }
    const auto entry = l1_entry(index);
    if (!entry) return std::unexpected(entry.error());
    const auto table = format::L1Entry{*entry}.offset();
    // What lies past the end of the file can't be followed, and reads as if it were not there.
    if (table.raw() != 0 && table.raw() < layer_.device->size()) {
      if (end != offset) break;
      if (!layer_.info.geometry->aligned(table))
        return damaged(offset, "its L2 table is not cluster aligned");
      if (auto loaded = load_l2(index, table.raw()); !loaded) return std::unexpected(loaded.error());
      return find_in_l2(offset);
    }
    end = std::min(size(), base::saturating_mul(index + 1, span));
  }
  return GuestExtent{.begin = base::GuestOffset{offset}, .length = end - offset};
}

base::Result<std::uint64_t> Mapping::l1_entry(std::uint64_t index) {
  const auto& v2 = layer_.info.header->v2;
  if (index < l1_first_ || index - l1_first_ >= l1_.size() / l1_entry_size) {
    const std::uint64_t count = std::min(l1_piece_entries, v2.l1_size - index);
    const auto position = v2.l1_table_offset.plus(index * l1_entry_size);
    if (!layer_.info.geometry->aligned(v2.l1_table_offset))
      return damaged(0, "the L1 table is not cluster aligned");
    const std::uint64_t eof = layer_.device->size();
    if (!position || position->raw() > eof || count * l1_entry_size > eof - position->raw())
      return damaged(0, "the L1 table reaches past the end of the file");
    l1_.assign(static_cast<std::size_t>(count * l1_entry_size), std::byte{0});
    l1_first_ = index;
    if (auto read = read_exactly(*layer_.device, position->raw(), l1_); !read)
      return std::unexpected(read.error());
  }
  return base::BigEndianTable<std::uint64_t>(l1_)[static_cast<std::size_t>(index - l1_first_)];
}

base::Result<void> Mapping::load_l2(std::uint64_t l1_index, std::uint64_t table_offset) {
  if (l2_index_ == l1_index) return {};
  l2_.assign(static_cast<std::size_t>(layer_.info.geometry->cluster_size()), std::byte{0});
  l2_index_ = l1_index;
  return read_exactly(*layer_.device, table_offset, l2_);
}

base::Result<GuestExtent> Mapping::find_in_l2(std::uint64_t offset) {
  const std::uint64_t end = std::min(size(), (*l2_index_ + 1) * layer_.info.geometry->span());
  auto extent = entry_at(offset);
  while (extent && extent->end() < end) {
    const auto next = entry_at(extent->end());
    // Damage further on is for the reader who gets there.
    if (!next || !continues(*extent, *next)) break;
    extent->length += next->length;
  }
  if (!extent) return extent;
  extent->length = std::min(extent->length, end - offset);
  look_for_holes(*extent);
  return extent;
}

// What the L2 entry of `offset` says of the bytes from there to the end of its cluster or run of alike subclusters.
base::Result<GuestExtent> Mapping::entry_at(std::uint64_t offset) const {
  const auto& info = layer_.info;
  const auto& g = *info.geometry;
  const base::BigEndianTable<std::uint64_t> table(l2_);
  const auto index = static_cast<std::size_t>((offset >> g.cluster_bits()) & (g.l2_entries() - 1));
  const std::uint64_t inside = offset & (g.cluster_size() - 1);
  const format::L2Entry entry{table[index * static_cast<std::size_t>(g.l2_entry_size() / 8)]};

  GuestExtent extent{.begin = base::GuestOffset{offset}, .length = g.cluster_size() - inside};
  if (entry.compressed()) {
    extent.allocated = extent.data = extent.compressed = true;
    return extent;
  }
  // With an external data file, host offset 0 is a place like any other; COPIED says that it is meant.
  const bool external = info.header->external_data_file();
  const bool has_host = entry.offset().raw() != 0 || (external && entry.copied());
  if (has_host && !g.aligned(entry.offset())) return damaged(offset, "its cluster is not aligned");
  if (has_host && !info.encrypted()) extent.host = base::HostOffset{entry.offset().raw() + inside};

  if (!g.extended_l2()) {
    extent.zero = entry.zero();
    extent.data = has_host && !extent.zero;
    extent.allocated = extent.zero || extent.data;
    return extent;
  }
  const format::Subclusters bits{table[2 * index + 1]};
  if ((bits.allocated() & bits.zero()) != 0)
    return damaged(offset, "a subcluster is both allocated and zero");
  if (bits.allocated() != 0 && !has_host)
    return damaged(offset, "a subcluster is allocated without a cluster");
  const auto number = static_cast<unsigned>(inside / g.subcluster_size());
  const bool data = (bits.allocated() >> number & 1U) != 0;
  const bool zero = (bits.zero() >> number & 1U) != 0;
  // How many subclusters from here on are of the same sort.
  const std::uint32_t unlike =
      (data ? ~bits.allocated() : bits.allocated()) | (zero ? ~bits.zero() : bits.zero());
  const auto alike = static_cast<std::uint64_t>(std::min(
      std::countr_zero(unlike >> number), static_cast<int>(format::subclusters_per_cluster - number)));
  extent.length = std::min(extent.length, (number + alike) * g.subcluster_size() - inside);
  extent.data = data;
  extent.zero = zero;
  extent.allocated = data || zero;
  return extent;
}

// Data that the file does not hold, because it ends before or has a hole there, reads as zeros. QEMU looks at an
// external data file only when the image, not the data file, holds fewer clusters than it counts.
void Mapping::look_for_holes(GuestExtent& extent) {
  if (!extent.data || !extent.host) return;
  const bool external = layer_.info.header->external_data_file();
  if (external && (layer_.data_file == nullptr || !preallocated())) return;
  const auto& device = external ? *layer_.data_file : *layer_.device;
  const std::uint64_t host = extent.host->raw();
  const std::uint64_t eof = device.size();
  if (host >= eof) {
    extent.zero = true;
    return;
  }
  extent.length = std::min(extent.length, eof - host);
  if (!preallocated()) return;
  const auto run = device.extent(host);
  extent.length = std::min(extent.length, run.end - host);
  extent.zero = run.hole;
}

bool Mapping::preallocated() {
  if (!preallocated_)
    preallocated_ = metadata_preallocated(*layer_.device, *layer_.info.header, *layer_.info.geometry);
  return *preallocated_;
}

ChainMapping::ChainMapping(const std::vector<Layer>& layers) {
  layers_.reserve(layers.size());
  for (const auto& layer : layers) layers_.emplace_back(layer);
}

base::Result<ChainExtent> ChainMapping::piece(std::uint64_t offset, std::uint64_t end) {
  for (std::size_t depth = 0;; ++depth) {
    auto extent = layers_[depth].at(base::GuestOffset{offset});
    if (!extent) {
      if (depth > 0)
        extent.error().message = fmt::format("layer {} below it: {}", depth, extent.error().message);
      return std::unexpected(std::move(extent.error()));
    }
    end = std::min(end, extent->end());
    const bool below_decides =
        !extent->allocated && depth + 1 < layers_.size() && offset < layers_[depth + 1].size();
    if (below_decides) {
      end = std::min(end, layers_[depth + 1].size());
      continue;
    }
    extent->length = end - offset;
    extent->zero = extent->zero || !extent->allocated;
    return ChainExtent{*extent, depth};
  }
}

base::Result<ChainExtent> ChainMapping::at(base::GuestOffset offset, std::uint64_t end) {
  auto whole = piece(offset.raw(), end);
  while (whole && whole->extent.end() < end) {
    const auto next = piece(whole->extent.end(), end);
    if (!next || next->depth != whole->depth || !continues(whole->extent, next->extent)) break;
    whole->extent.length += next->extent.length;
  }
  return whole;
}

bool metadata_preallocated(const storage::Device& device, const format::Header& header,
                           const format::Geometry& geometry) {
  const std::uint64_t total = geometry.clusters(device.size());
  const std::uint64_t real = device.allocated() >> geometry.cluster_bits();
  const std::uint64_t enough = real + std::max<std::uint64_t>(2, real / 9);
  const std::uint64_t table_offset = header.v2.refcount_table_offset.raw();
  std::uint64_t used = 0;
  std::vector<std::byte> block(static_cast<std::size_t>(geometry.cluster_size()));
  for (std::uint64_t first = 0; first < total && total - first >= enough - used;
       first += geometry.block_entries()) {
    std::array<std::byte, 8> word{};
    const auto position = base::checked_add(table_offset, (first >> geometry.block_bits()) * word.size());
    if (!position || device.read(*position, word).os_error != 0) return false;
    const std::uint64_t at = base::load_be<std::uint64_t, 0>(std::span<const std::byte, 8>(word)) &
                             format::refcount_table_word["offset"].mask();
    if (at == 0 || device.read(at, block).os_error != 0) continue;
    const std::uint64_t count = std::min(geometry.block_entries(), total - first);
    for (std::uint64_t i = 0; i < count; ++i) {
      used += format::refcount_at(block, geometry.refcount_order(), i) != 0 ? 1U : 0U;
      if (used >= enough) return true;
    }
  }
  return false;
}

}  // namespace cowvet::analyzer
