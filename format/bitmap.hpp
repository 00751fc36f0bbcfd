// The bitmap directory: packed entries of variable length, each pointing at a bitmap table. Promises: as in
// snapshot.hpp.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/bytes.hpp"
#include "base/units.hpp"
#include "format/record.hpp"

namespace cowvet::format {

struct BitmapEntry {
  base::HostOffset table_offset;
  std::uint32_t table_size = 0;
  std::uint32_t flags = 0;
  std::uint8_t type = 1;
  std::uint8_t granularity_bits = 16;
  std::uint16_t name_size = 0;
  std::uint32_t extra_data_size = 0;
};
template <>
inline constexpr auto layout<BitmapEntry> = record(
    "bitmap", "Bitmap directory", field<0, &BitmapEntry::table_offset>("table_offset", "cluster aligned"),
    field<8, &BitmapEntry::table_size>("table_size", "entries of the bitmap table"),
    field<12, &BitmapEntry::flags>("flags", "0 in_use, 1 auto, 2 extra_data_compatible"),
    field<16, &BitmapEntry::type>("type", "1 = dirty tracking"),
    field<17, &BitmapEntry::granularity_bits>("granularity_bits",
                                              "one bit covers 1 << granularity_bits bytes"),
    field<18, &BitmapEntry::name_size>("name_size", "bytes, 1 to 1023"),
    field<20, &BitmapEntry::extra_data_size>("extra_data_size", "bytes"));
static_assert(disk_size<BitmapEntry> == 24);

inline constexpr std::uint32_t bitmap_in_use = 1, bitmap_auto = 2, bitmap_extra_compatible = 4;

struct Bitmap {
  std::uint64_t position = 0;  // from the directory's start, bytes
  BitmapEntry entry;
  std::vector<std::byte> extra;
  std::string name;
  std::vector<std::byte> padding;
};

struct BitmapStep {
  std::optional<Bitmap> bitmap;  // nothing: an entry does not fit into the bytes that are left
  std::uint64_t needed = 0;      // bytes that it claims, with the padding to a multiple of 8
};

[[nodiscard]] BitmapStep parse_bitmap(base::ConstBytes rest, std::uint64_t position);
[[nodiscard]] std::vector<std::byte> encode_bitmap(const Bitmap& bitmap);

// Entries of the bitmap table that a disk of `size` bytes needs ("Bitmap table"); cluster_size is a power of two.
[[nodiscard]] std::uint64_t bitmap_table_entries(std::uint64_t size, std::uint8_t granularity_bits,
                                                 std::uint64_t cluster_size);

}  // namespace cowvet::format
