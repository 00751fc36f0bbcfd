#include "analyzer/stored_refcounts.hpp"

#include <algorithm>

#include "format/refcounts.hpp"

namespace cowvet::analyzer {

namespace {

constexpr std::uint64_t piece_size = 1ULL << 16;    // bytes of the table in memory
constexpr std::uint64_t blocks_size = 16ULL << 20;  // bytes of blocks in memory

}  // namespace

StoredRefcounts::StoredRefcounts(const storage::Device& device, const format::Geometry& geometry,
                                 base::HostOffset table)
    : device_(device), geometry_(geometry), table_(table.raw()) {}

std::vector<std::byte> StoredRefcounts::read(std::uint64_t offset, std::uint64_t length) const {
  if (offset >= device_.size()) return {};
  std::vector<std::byte> bytes(static_cast<std::size_t>(std::min(length, device_.size() - offset)));
  if (device_.read(offset, bytes).os_error != 0) bytes.clear();
  return bytes;
}

std::uint64_t StoredRefcounts::place_of_block(std::uint64_t index) {
  const std::uint64_t at = base::saturating_mul(index, 8);
  if (at >= format::limits::max_refcount_table) return 0;
  if (piece_.empty() || at / piece_size * piece_size != piece_begin_) {
    piece_begin_ = at / piece_size * piece_size;
    piece_ = read(base::saturating_add(table_, piece_begin_), piece_size);
  }
  const base::BigEndianTable<std::uint64_t> words(piece_);
  const auto i = static_cast<std::size_t>((at - piece_begin_) / 8);
  if (i >= words.size() || (words[i] & format::refcount_table_word.reserved_mask) != 0) return 0;
  const base::HostOffset place{words[i]};
  return geometry_.aligned(place) && place.raw() < device_.size() && place.raw() != table_ ? place.raw() : 0;
}

base::ConstBytes StoredRefcounts::block(std::uint64_t index) {
  if (const auto known = blocks_.find(index); known != blocks_.end()) return known->second;
  if ((blocks_.size() + 1) << geometry_.cluster_bits() > blocks_size) blocks_.clear();
  const std::uint64_t place = place_of_block(index);
  return blocks_[index] = place == 0 ? std::vector<std::byte>{} : read(place, geometry_.cluster_size());
}

std::uint64_t StoredRefcounts::of(std::uint64_t cluster) {
  return format::refcount_at(block(cluster >> geometry_.block_bits()), geometry_.refcount_order(),
                             cluster & (geometry_.block_entries() - 1));
}

unsigned StoredRefcounts::self_evidence() {
  const std::uint64_t first = place_of_block(0);
  if (table_ == 0 || first == 0 || !geometry_.aligned(base::HostOffset{table_})) return 0;
  unsigned once = 0;
  for (const std::uint64_t place : {std::uint64_t{0}, table_, first})
    once += of(place >> geometry_.cluster_bits()) == 1 ? 1U : 0U;
  return once;
}

std::uint64_t StoredRefcounts::counted() {
  const auto first = block(0);
  const std::uint64_t end = std::min(geometry_.block_entries(), geometry_.clusters(device_.size()));
  std::uint64_t sum = 0;
  for (std::uint64_t c = 0; c < end; ++c)
    sum += format::refcount_at(first, geometry_.refcount_order(), c) != 0 ? 1U : 0U;
  return sum;
}

}  // namespace cowvet::analyzer
