#include "analyzer/stale_bitmaps.hpp"

#include <algorithm>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/checked.hpp"
#include "base/text.hpp"

namespace cowvet::analyzer {

using namespace findings::literals;
using findings::Finding;

namespace {

namespace limits = format::limits;

constexpr std::size_t most_stale = 1U << 16;
constexpr std::size_t most_bitmaps = 8;  // in a finding
constexpr std::uint64_t table_budget = 64ULL << 20;

class StaleDirectory {
 public:
  explicit StaleDirectory(Image& image) : image_(image), geometry_(*image.geometry) {}

  void read(const format::BitmapsExtension& extension) {
    const auto offset = extension.directory_offset;
    if (extension.count == 0 || extension.count > limits::max_bitmaps || offset.raw() == 0 ||
        !geometry_.aligned(offset) || extension.directory_size > limits::max_bitmap_directory ||
        !image_.inside(offset, extension.directory_size))
      return;
    const auto bytes =
        image_.read(offset, extension.directory_size, limits::max_bitmap_directory, "bitmap_directory");
    std::vector<format::Bitmap> bitmaps;
    for (std::uint64_t at = 0; bitmaps.size() < extension.count;) {
      const auto step =
          format::parse_bitmap(base::ConstBytes(bytes).subspan(static_cast<std::size_t>(at)), at);
      if (!step.bitmap || !plausible(*step.bitmap)) return;  // something else lies there by now
      at += step.needed;
      bitmaps.push_back(*step.bitmap);
    }
    add(offset, extension.directory_size, "the stale bitmap directory");
    for (const auto& bitmap : bitmaps) read_table(bitmap);
    std::ranges::sort(image_.stale, {}, &StaleRegion::begin);
  }

 private:
  [[nodiscard]] bool plausible(const format::Bitmap& bitmap) const {
    const auto& e = bitmap.entry;
    return e.table_offset.raw() != 0 && geometry_.aligned(e.table_offset) && e.table_size != 0 &&
           e.table_size <= limits::max_bitmap_table_entries &&
           image_.inside(e.table_offset, std::uint64_t{e.table_size} * 8) && !bitmap.name.empty() &&
           bitmap.name.size() <= limits::max_bitmap_name;
  }

  // A table with a single entry that no bitmap's table has, is none any more.
  void read_table(const format::Bitmap& bitmap) {
    const std::uint64_t length = std::uint64_t{bitmap.entry.table_size} * 8;
    if (length > budget_) return;
    budget_ -= length;
    const auto bytes = image_.read(bitmap.entry.table_offset, length, length, "bitmap_table");
    const base::BigEndianTable<std::uint64_t> words(bytes);
    const auto at = [&](std::size_t i) { return format::BitmapTableEntry{words[i]}; };
    for (std::size_t i = 0; i < words.size(); ++i)
      if (at(i).reserved() != 0 || !geometry_.aligned(at(i).offset()) || at(i).offset().raw() >= image_.eof)
        return;
    const auto name = fmt::format("the stale bitmap \"{}\"", base::escape(bitmap.name));
    add(bitmap.entry.table_offset, length, name);
    for (std::size_t i = 0; i < words.size(); ++i)
      if (at(i).offset().raw() != 0) add(at(i).offset(), geometry_.cluster_size(), name);
  }

  void add(base::HostOffset begin, std::uint64_t length, const std::string& name) {
    if (image_.stale.size() == most_stale) return;
    const auto end = base::round_up(begin.raw() + length, geometry_.cluster_size());
    if (end) image_.stale.push_back({begin, *end - begin.raw(), name});
  }

  Image& image_;
  const format::Geometry geometry_;
  std::uint64_t budget_ = table_budget;
};

}  // namespace

void read_stale_bitmaps(Image& image, const format::BitmapsExtension& extension) {
  StaleDirectory(image).read(extension);
}

const StaleRegion* stale_bitmap_at(const Image& image, base::HostOffset at) {
  const auto behind = std::ranges::upper_bound(image.stale, at, {}, &StaleRegion::begin);
  if (behind == image.stale.begin()) return nullptr;
  const auto& region = *std::prev(behind);
  return at.raw() - region.begin.raw() < region.length ? &region : nullptr;
}

void explain_stale_leaks(const Image& image, std::span<Finding> kept) {
  for (auto& f : kept) {
    if (f.rule != "refcount/leak"_rule || !f.host) continue;
    std::vector<std::string_view> names;
    const std::uint64_t end = f.host->begin.raw() + f.host->length;
    for (auto region = std::ranges::lower_bound(image.stale, f.host->begin, {}, &StaleRegion::begin);
         region != image.stale.end() && region->begin.raw() < end && names.size() < most_bitmaps; ++region)
      if (std::ranges::find(names, region->name) == names.end()) names.push_back(region->name);
    if (const auto* first = stale_bitmap_at(image, f.host->begin); names.empty() && first != nullptr)
      names.push_back(first->name);
    if (!names.empty()) f.detail = fmt::format("belongs to {}", fmt::join(names, ", "));
  }
}

}  // namespace cowvet::analyzer
