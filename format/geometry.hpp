// The sizes that follow from a header, proved in range. Promises: whoever holds a Geometry may shift by its members;
// there is no other source of shifts.
#pragma once
#include <cstdint>
#include <optional>

#include "base/checked.hpp"
#include "base/units.hpp"
#include "format/entries.hpp"

namespace cowvet::format {

// Limits of the format and of its implementations; bytes unless named otherwise.
namespace limits {
inline constexpr std::uint32_t min_cluster_bits = 9;
inline constexpr std::uint32_t max_cluster_bits = 21;
inline constexpr std::uint32_t min_extended_cluster_bits = 14;
inline constexpr std::uint32_t max_refcount_order = 6;
inline constexpr std::uint64_t max_l1_entries = 32ULL << 20 >> 3;
inline constexpr std::uint64_t max_virtual_size = 0x7fffffffc0000000ULL;
inline constexpr std::uint64_t max_refcount_table = 8ULL << 20;
inline constexpr std::uint64_t max_offset = 0x7fffffffffffffffULL;
inline constexpr std::uint32_t max_snapshots = 65536;
inline constexpr std::uint64_t max_snapshot_table = 64ULL << 20;
inline constexpr std::uint32_t max_snapshot_extra = 1024;
inline constexpr std::uint32_t max_backing_name = 1023;
inline constexpr std::uint32_t max_backing_format = 15;
inline constexpr std::uint32_t max_bitmaps = 65535;
inline constexpr std::uint64_t max_bitmap_directory = 1024ULL * 65535;
inline constexpr std::uint64_t max_bitmap_table_entries = 0x8000000;
inline constexpr std::uint64_t max_bitmap_bytes = 512ULL << 20;
inline constexpr std::uint32_t max_bitmap_name = 1023;
inline constexpr std::uint64_t sector = 512;
}  // namespace limits

// The host bytes that a compressed entry describes ("Cluster mapping", compressed cluster descriptor).
struct CompressedRange {
  base::HostOffset offset;
  std::uint64_t sectors;  // additional 512-byte sectors after the one that holds the first byte
  // Bytes from the offset to the end of the last sector.
  [[nodiscard]] constexpr std::uint64_t length() const {
    return (sectors + 1) * limits::sector - (offset.raw() & (limits::sector - 1));
  }
  friend constexpr auto operator<=>(CompressedRange, CompressedRange) = default;
};

class Geometry {
 public:
  // Nothing unless 9 <= cluster_bits <= 21 (14 with extended L2) and refcount_order <= 6.
  [[nodiscard]] static constexpr std::optional<Geometry> make(std::uint32_t cluster_bits,
                                                              std::uint32_t refcount_order,
                                                              bool extended_l2) {
    if (cluster_bits < limits::min_cluster_bits || cluster_bits > limits::max_cluster_bits)
      return std::nullopt;
    if (extended_l2 && cluster_bits < limits::min_extended_cluster_bits) return std::nullopt;
    if (refcount_order > limits::max_refcount_order) return std::nullopt;
    return Geometry{cluster_bits, refcount_order, extended_l2};
  }

  [[nodiscard]] constexpr std::uint32_t cluster_bits() const { return cluster_bits_; }
  [[nodiscard]] constexpr std::uint64_t cluster_size() const { return 1ULL << cluster_bits_; }
  [[nodiscard]] constexpr bool extended_l2() const { return extended_l2_; }
  [[nodiscard]] constexpr std::uint64_t l2_entry_size() const { return extended_l2_ ? 16 : 8; }
  [[nodiscard]] constexpr std::uint32_t l2_bits() const { return cluster_bits_ - (extended_l2_ ? 4 : 3); }
  [[nodiscard]] constexpr std::uint64_t l2_entries() const { return 1ULL << l2_bits(); }
  [[nodiscard]] constexpr std::uint64_t subcluster_size() const {
    return extended_l2_ ? cluster_size() / subclusters_per_cluster : cluster_size();
  }
  // Guest bytes under one L2 table.
  [[nodiscard]] constexpr std::uint64_t span() const { return 1ULL << (cluster_bits_ + l2_bits()); }
  // L1 entries that `size` bytes of guest need.
  [[nodiscard]] constexpr std::uint64_t l1_entries(std::uint64_t size) const {
    return base::divide_up(size, span());
  }

  [[nodiscard]] constexpr std::uint32_t refcount_order() const { return refcount_order_; }
  [[nodiscard]] constexpr std::uint32_t refcount_bits() const { return 1U << refcount_order_; }
  [[nodiscard]] constexpr std::uint64_t max_refcount() const { return ~0ULL >> (64 - refcount_bits()); }
  // Refcounts in one refcount block, as a shift and as a number.
  [[nodiscard]] constexpr std::uint32_t block_bits() const { return cluster_bits_ + 3 - refcount_order_; }
  [[nodiscard]] constexpr std::uint64_t block_entries() const { return 1ULL << block_bits(); }

  [[nodiscard]] constexpr bool aligned(base::HostOffset offset) const {
    return (offset.raw() & (cluster_size() - 1)) == 0;
  }
  [[nodiscard]] constexpr base::HostCluster cluster_of(base::HostOffset offset) const {
    return base::HostCluster{offset.raw() >> cluster_bits_};
  }
  // First byte of a cluster that lies below 2^63 (the caller got the number from an offset or a file's length).
  [[nodiscard]] constexpr base::HostOffset offset_of(base::HostCluster cluster) const {
    return base::HostOffset{cluster.raw() << cluster_bits_};
  }
  // Clusters that `bytes` bytes need.
  [[nodiscard]] constexpr std::uint64_t clusters(std::uint64_t bytes) const {
    return base::divide_up(bytes, cluster_size());
  }

  // Where the offset of a compressed descriptor ends and its sector field begins.
  [[nodiscard]] constexpr std::uint32_t compressed_shift() const { return 70 - cluster_bits_; }
  [[nodiscard]] constexpr CompressedRange compressed_range(L2Entry entry) const {
    const std::uint64_t descriptor = l2_compressed_word["descriptor"].get(entry.word);
    const std::uint32_t shift = compressed_shift();
    return {base::HostOffset{descriptor & ((1ULL << shift) - 1)}, descriptor >> shift};
  }
  // The entry for a range whose offset and sector count fit.
  [[nodiscard]] constexpr L2Entry compressed_entry(CompressedRange range) const {
    return L2Entry{compressed_flag | (range.sectors << compressed_shift()) | range.offset.raw()};
  }

  friend constexpr bool operator==(const Geometry&, const Geometry&) = default;

 private:
  constexpr Geometry(std::uint32_t cluster_bits, std::uint32_t refcount_order, bool extended_l2)
      : cluster_bits_(cluster_bits), refcount_order_(refcount_order), extended_l2_(extended_l2) {}
  std::uint32_t cluster_bits_, refcount_order_;
  bool extended_l2_;
};

}  // namespace cowvet::format
