#include "corpus/builder/host_clusters.hpp"

#include <array>

#include <fmt/format.h>

#include "base/checked.hpp"
#include "format/refcounts.hpp"

namespace cowvet::corpus {

HostClusters::HostClusters(SparseBytes& file, format::Geometry geometry, std::uint64_t table_clusters)
    : file_(file),
      geometry_(geometry),
      table_offset_(geometry.cluster_size()),
      table_clusters_(table_clusters) {
  take(1 + table_clusters, true);
}

std::uint64_t HostClusters::take(std::uint64_t count, bool written, std::uint64_t refcount) {
  const std::uint64_t first = next_;
  next_ += count;
  const std::uint64_t offset = first << geometry_.cluster_bits();
  const std::uint64_t length = count << geometry_.cluster_bits();
  if (written) {
    file_.fill(offset, length, std::byte{0});
  } else {
    file_.punch(offset, length);
  }
  if (refcount != 0) cover(first, count);
  for (std::uint64_t i = 0; i < count && refcount != 0; ++i) set_refcount(first + i, refcount);
  return offset;
}

std::uint64_t HostClusters::take_uncounted(std::uint64_t count) {
  const std::uint64_t first = next_;
  const std::uint64_t offset = take(count, false, 0);
  cover(first, count);
  return offset;
}

void HostClusters::skip_to(std::uint64_t offset) {
  const std::uint64_t cluster = base::divide_up(offset, geometry_.cluster_size());
  if (cluster > next_) next_ = cluster;
}

// Makes the refcount blocks of a run of clusters.
void HostClusters::cover(std::uint64_t first, std::uint64_t count) {
  if (count == 0) return;
  const std::uint64_t last = (first + count - 1) >> geometry_.block_bits();
  for (std::uint64_t index = first >> geometry_.block_bits(); index <= last; ++index) ensure_block(index);
}

void HostClusters::ensure_block(std::uint64_t index) {
  if (blocks_.contains(index)) return;
  const std::uint64_t cluster = next_++;
  const std::uint64_t offset = cluster << geometry_.cluster_bits();
  blocks_[index] = offset;
  file_.fill(offset, geometry_.cluster_size(), std::byte{0});
  ensure_block(cluster >> geometry_.block_bits());  // the block itself is counted too, often by itself
  set_refcount(cluster, 1);
}

std::uint64_t HostClusters::refcount(std::uint64_t offset) const {
  const std::uint64_t cluster = offset >> geometry_.cluster_bits();
  auto block = blocks_.find(cluster >> geometry_.block_bits());
  if (block == blocks_.end()) return 0;
  const std::uint64_t index = cluster & (geometry_.block_entries() - 1);
  const std::uint32_t order = geometry_.refcount_order();
  if (order >= 3) return file_.load(block->second + (index << (order - 3)), std::size_t{1} << (order - 3));
  const std::array<std::byte, 1> byte{
      static_cast<std::byte>(file_.load(block->second + (index >> (3 - order)), 1))};
  return format::refcount_at(byte, order, index & ((1U << (3 - order)) - 1));
}

void HostClusters::set_refcount(std::uint64_t cluster, std::uint64_t value) {
  if (value > geometry_.max_refcount()) {
    if (!error_) {
      error_ = fmt::format(
          "cluster {} would have {} references, which {}-bit refcounts can't count; use wider ones", cluster,
          value, geometry_.refcount_bits());
    }
    return;
  }
  const std::uint64_t block = blocks_.at(cluster >> geometry_.block_bits());
  const std::uint64_t index = cluster & (geometry_.block_entries() - 1);
  const std::uint32_t order = geometry_.refcount_order();
  if (order >= 3) {
    file_.store(block + (index << (order - 3)), std::size_t{1} << (order - 3), value);
    return;
  }
  const std::uint64_t at = block + (index >> (3 - order));
  std::array<std::byte, 1> byte{static_cast<std::byte>(file_.load(at, 1))};
  format::set_refcount(byte, order, index & ((1U << (3 - order)) - 1), value);
  file_.write(at, byte);
}

void HostClusters::reference(std::uint64_t offset) {
  set_refcount(offset >> geometry_.cluster_bits(), refcount(offset) + 1);
}

void HostClusters::release(std::uint64_t offset) {
  const std::uint64_t cluster = offset >> geometry_.cluster_bits();
  const std::uint64_t owners = refcount(offset);
  if (owners == 0) return;  // a descriptor that was made to say too much
  set_refcount(cluster, owners - 1);
  if (owners == 1) file_.punch(cluster << geometry_.cluster_bits(), geometry_.cluster_size());
}

void HostClusters::finish() {
  const std::uint64_t entries = geometry_.cluster_size() / 8;
  auto needed = [&] { return base::divide_up(blocks_.rbegin()->first + 1, entries); };
  while (needed() > table_clusters_) {
    for (std::uint64_t i = 0; i < table_clusters_; ++i)
      release(table_offset_ + (i << geometry_.cluster_bits()));
    table_clusters_ = needed();
    table_offset_ = take(table_clusters_, true);
  }
  for (auto [index, offset] : blocks_) file_.store(table_offset_ + index * 8, 8, offset);
}

Region HostClusters::table() const { return {table_offset_, table_clusters_ << geometry_.cluster_bits()}; }

}  // namespace cowvet::corpus
