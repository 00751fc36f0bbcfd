#include "repair/bitmap_entry.hpp"

namespace cowvet::repair {

bool is_bitmap_entry(const format::Bitmap& bitmap, const format::Geometry& geometry, std::uint64_t eof) {
  constexpr std::uint8_t least_granularity = 9, most_granularity = 31;
  const auto& entry = bitmap.entry;
  return entry.type == 1 && entry.granularity_bits >= least_granularity &&
         entry.granularity_bits <= most_granularity && entry.table_size != 0 &&
         entry.table_offset.raw() != 0 && geometry.aligned(entry.table_offset) &&
         entry.table_offset.raw() < eof && !bitmap.name.empty();
}

}  // namespace cowvet::repair
