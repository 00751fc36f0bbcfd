#include "format/bitmap.hpp"

#include "base/checked.hpp"
#include "format/extensions.hpp"

namespace cowvet::format {

BitmapStep parse_bitmap(base::ConstBytes rest, std::uint64_t position) {
  base::Cursor cursor{rest};
  BitmapStep step;
  step.needed = disk_size<BitmapEntry>;
  auto fixed = cursor.take(disk_size<BitmapEntry>);
  if (!fixed) return step;
  Bitmap b;
  b.position = position;
  b.entry = decode<BitmapEntry>(*base::prefix<disk_size<BitmapEntry>>(*fixed));
  const std::uint64_t bare = step.needed + b.entry.extra_data_size + b.entry.name_size;
  step.needed = (bare + 7) & ~std::uint64_t{7};  // three values of at most 32 bits: no overflow

  auto extra = cursor.take(b.entry.extra_data_size);
  if (!extra) return step;
  auto name = cursor.take(b.entry.name_size);
  if (!name) return step;
  auto padding = cursor.take(step.needed - bare);
  if (!padding) return step;
  b.extra.assign(extra->begin(), extra->end());
  b.name = as_text(*name);
  b.padding.assign(padding->begin(), padding->end());
  step.bitmap = std::move(b);
  return step;
}

std::vector<std::byte> encode_bitmap(const Bitmap& bitmap) {
  const auto fixed = encode(bitmap.entry);
  std::vector<std::byte> out(fixed.begin(), fixed.end());
  out.insert(out.end(), bitmap.extra.begin(), bitmap.extra.end());
  for (char c : bitmap.name) out.push_back(static_cast<std::byte>(c));
  out.insert(out.end(), bitmap.padding.begin(), bitmap.padding.end());
  return out;
}

std::uint64_t bitmap_table_entries(std::uint64_t size, std::uint8_t granularity_bits,
                                   std::uint64_t cluster_size) {
  // A granularity of 64 bits or more covers any disk with one bit.
  const std::uint64_t bits = granularity_bits < 64
                                 ? base::divide_up(size, std::uint64_t{1} << granularity_bits)
                                 : (size != 0 ? 1U : 0U);
  return base::divide_up(base::divide_up(bits, 8), cluster_size);
}

}  // namespace cowvet::format
