// The clusters of bitmaps that the autoclear bit no longer vouches for: a writer that knows no bitmaps has cleared it,
// as it must, and left their clusters counted. Nobody owns these, but it is known what they are. Promises: only what
// reads as bitmaps from the directory to the tables is taken for them.
#pragma once
#include <span>
#include <string>
#include <vector>

#include "analyzer/image.hpp"

namespace cowvet::analyzer {

// Fills image.stale with what the directory names.
void read_stale_bitmaps(Image& image, const format::BitmapsExtension& extension);
// The stale structure that holds this byte; nullptr if none does.
[[nodiscard]] const StaleRegion* stale_bitmap_at(const Image& image, base::HostOffset at);
// Says of kept findings about leaks which bitmap the clusters belong to.
void explain_stale_leaks(const Image& image, std::span<findings::Finding> kept);

}  // namespace cowvet::analyzer
