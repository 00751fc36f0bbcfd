// Whether bytes are an entry of a bitmap directory, as writers make them. Promises: says nothing of what lies behind
// the entry.
#pragma once
#include "format/bitmap.hpp"
#include "format/geometry.hpp"

namespace cowvet::repair {

// `eof`: bytes of the file that the entry's table must lie in.
[[nodiscard]] bool is_bitmap_entry(const format::Bitmap& bitmap, const format::Geometry& geometry,
                                   std::uint64_t eof);

}  // namespace cowvet::repair
