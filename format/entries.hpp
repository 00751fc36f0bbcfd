// The 64-bit words of the tables: refcount table, L1, L2 in all its kinds, bitmap table. Promises: every bit has a
// name; reserved masks and field positions come from the tables, nothing else knows them.
#pragma once
#include <cstdint>

#include "base/units.hpp"
#include "format/bits.hpp"

namespace cowvet::format {

inline constexpr auto refcount_table_word =
    word("refcount_table_entry", "Host cluster management", reserved<0, 8>(), bits<9, 63>("offset"));
inline constexpr auto l1_word =
    word("l1_entry", "Cluster mapping", reserved<0, 8>("reserved_low"), bits<9, 55>("offset"),
         reserved<56, 62>("reserved_high"), bits<63>("copied"));
inline constexpr auto l2_word = word(
    "l2_entry", "Cluster mapping", bits<0>("zero"), reserved<1, 8>("reserved_low"), bits<9, 55>("offset"),
    reserved<56, 61>("reserved_high"), bits<62>("compressed"), bits<63>("copied"));
// In a compressed entry the split between offset and sectors depends on the cluster size; see CompressedRange.
inline constexpr auto l2_compressed_word =
    word("l2_compressed_entry", "Cluster mapping", bits<0, 61>("descriptor"), bits<62>("compressed"),
         bits<63>("copied"));
inline constexpr auto l2_subcluster_word =
    word("l2_subclusters", "Extended L2 Entries", bits<0, 31>("allocated"), bits<32, 63>("zero"));
inline constexpr auto bitmap_table_word =
    word("bitmap_table_entry", "Bitmap table", bits<0>("all_ones"), reserved<1, 8>("reserved_low"),
         bits<9, 55>("offset"), reserved<56, 63>("reserved_high"));
inline constexpr auto bitmap_flags_word =
    word("bitmap_flags", "Bitmap directory", bits<0>("in_use"), bits<1>("auto"),
         bits<2>("extra_data_compatible"), reserved<3, 63>());  // 32 bits on disk

inline constexpr std::uint64_t entry_offset_mask = l2_word["offset"].mask();
inline constexpr std::uint64_t copied_flag = l2_word["copied"].mask();
inline constexpr std::uint64_t compressed_flag = l2_word["compressed"].mask();
inline constexpr std::uint64_t zero_flag = l2_word["zero"].mask();
static_assert(entry_offset_mask == l1_word["offset"].mask() && copied_flag == l1_word["copied"].mask() &&
                  entry_offset_mask == bitmap_table_word["offset"].mask(),
              "these tables put offset and COPIED in the same place");

struct L1Entry {
  std::uint64_t word = 0;
  [[nodiscard]] constexpr base::HostOffset offset() const {
    return base::HostOffset{word & entry_offset_mask};
  }
  [[nodiscard]] constexpr bool copied() const { return (word & copied_flag) != 0; }
  [[nodiscard]] constexpr std::uint64_t reserved() const { return word & l1_word.reserved_mask; }
};

struct L2Entry {
  std::uint64_t word = 0;
  [[nodiscard]] constexpr bool compressed() const { return (word & compressed_flag) != 0; }
  [[nodiscard]] constexpr bool copied() const { return (word & copied_flag) != 0; }
  // The next three are those of an entry that is not compressed.
  [[nodiscard]] constexpr base::HostOffset offset() const {
    return base::HostOffset{word & entry_offset_mask};
  }
  [[nodiscard]] constexpr bool zero() const { return (word & zero_flag) != 0; }
  [[nodiscard]] constexpr std::uint64_t reserved() const { return word & l2_word.reserved_mask; }
};

// The second word of an extended L2 entry: bit i of each mask speaks of subcluster i.
struct Subclusters {
  std::uint64_t word = 0;
  [[nodiscard]] constexpr std::uint32_t allocated() const { return static_cast<std::uint32_t>(word); }
  [[nodiscard]] constexpr std::uint32_t zero() const { return static_cast<std::uint32_t>(word >> 32); }
};
inline constexpr std::uint32_t subclusters_per_cluster = 32;

struct BitmapTableEntry {
  std::uint64_t word = 0;
  [[nodiscard]] constexpr base::HostOffset offset() const {
    return base::HostOffset{word & entry_offset_mask};
  }
  [[nodiscard]] constexpr bool all_ones() const { return (word & 1) != 0; }
  [[nodiscard]] constexpr std::uint64_t reserved() const { return word & bitmap_table_word.reserved_mask; }
};

}  // namespace cowvet::format
