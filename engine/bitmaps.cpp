#include "engine/bitmaps.hpp"

#include <algorithm>
#include <bit>

#include <fmt/format.h>

#include "base/text.hpp"

namespace cowvet::engine {

namespace {
using base::ErrorKind;
namespace limits = format::limits;
constexpr std::uint32_t known_flags =
    format::bitmap_in_use | format::bitmap_auto | format::bitmap_extra_compatible;
}  // namespace

// Whether its content means something to us.
bool Bitmaps::Bitmap::usable() const {
  const auto& e = record.entry;
  return !found_in_use && e.type == 1 && e.granularity_bits < 64 && (e.flags & ~known_flags) == 0 &&
         (e.extra_data_size == 0 || (e.flags & format::bitmap_extra_compatible) != 0);
}

std::uint64_t Bitmaps::Bitmap::size() const {
  return base::divide_up(covers, std::uint64_t{1} << record.entry.granularity_bits);
}

std::vector<BitmapInfo> Bitmaps::list() const {
  std::vector<BitmapInfo> infos;
  infos.reserve(bitmaps_.size());
  for (const auto& b : bitmaps_)
    infos.push_back(
        {.name = b.record.name,
         .granularity = b.record.entry.granularity_bits < 64 ? 1ULL << b.record.entry.granularity_bits : 0,
         .enabled = b.enabled(),
         .in_use = b.found_in_use});
  return infos;
}

base::Result<Bitmaps::Bitmap*> Bitmaps::find(std::string_view name, bool to_use) {
  const auto found =
      std::ranges::find(bitmaps_, name, [](const Bitmap& b) -> std::string_view { return b.record.name; });
  if (found == bitmaps_.end())
    return base::fail(ErrorKind::usage, fmt::format("there is no bitmap '{}'", base::escape(name)));
  if (!to_use) return &*found;
  if (found->found_in_use)
    return base::fail(ErrorKind::usage,
                      fmt::format("bitmap '{}' was not closed properly: its content can't be trusted, it "
                                  "can only be removed",
                                  base::escape(name)));
  if (!found->usable())
    return base::fail(
        ErrorKind::usage,
        fmt::format("bitmap '{}' has a type or data that this program does not know", base::escape(name)));
  if (auto loaded = load_bits(*found); !loaded) return std::unexpected(loaded.error());
  return &*found;
}

base::Result<void> Bitmaps::begin() {
  if (begun_) return {};
  std::vector<Bitmap*> recording;
  for (auto& b : bitmaps_) {
    if (!b.enabled()) continue;
    // One that can't be kept up to date is put in use all the same: it will not say what was written.
    if (b.usable())
      if (auto loaded = load_bits(b); !loaded) b.found_in_use = true;
    recording.push_back(&b);
  }
  if (auto claimed = claim(recording); !claimed) return claimed;
  begun_ = true;
  return {};
}

void Bitmaps::mark(std::uint64_t at, std::uint64_t length) {
  if (length == 0) return;
  for (auto& b : bitmaps_)
    if (b.enabled() && b.usable() && b.loaded) set_bits(b, at, length);
}

void Bitmaps::set_bits(Bitmap& bitmap, std::uint64_t at, std::uint64_t length) {
  if (at >= bitmap.covers) return;
  const auto shift = bitmap.record.entry.granularity_bits;
  const std::uint64_t last = (at + std::min(length, bitmap.covers - at) - 1) >> shift;
  for (std::uint64_t i = at >> shift; i <= last;) {
    if (i % 8 == 0 && i + 7 <= last) {
      bitmap.bits[static_cast<std::size_t>(i / 8)] = std::byte{0xff};
      i += 8;
    } else {
      bitmap.bits[static_cast<std::size_t>(i / 8)] |= static_cast<std::byte>(1U << (i % 8));
      ++i;
    }
  }
}

base::Result<void> Bitmaps::begin_resize() {
  std::vector<Bitmap*> all;
  for (auto& b : bitmaps_) {
    if (b.found_in_use) continue;
    if (!b.usable())
      return base::fail(ErrorKind::usage,
                        fmt::format("bitmap '{}' has a type or data that this program does not know, and "
                                    "can't be resized: remove it first",
                                    base::escape(b.record.name)));
    if (auto loaded = load_bits(b); !loaded) return loaded;
    all.push_back(&b);
  }
  return claim(all);
}

void Bitmaps::resize(std::uint64_t size) {
  for (auto& b : bitmaps_) {
    if (!b.loaded) continue;
    b.covers = size;
    b.bits.resize(static_cast<std::size_t>(base::divide_up(b.size(), 8)));
    if (const auto rest = b.size() % 8; rest != 0 && !b.bits.empty())
      b.bits.back() &= static_cast<std::byte>((1U << rest) - 1);
  }
}

base::Result<void> Bitmaps::add(std::string_view name, std::uint64_t granularity, bool enabled) {
  if (!image_.rules.zero_flag)
    return base::fail(ErrorKind::usage, "a version 2 image can't hold bitmaps: amend it to version 3 first");
  if (name.empty() || name.size() > limits::max_bitmap_name)
    return base::fail(ErrorKind::usage, "a bitmap's name has 1 to 1023 bytes");
  if (find(name, false))
    return base::fail(ErrorKind::usage, fmt::format("bitmap '{}' exists already", base::escape(name)));
  if (bitmaps_.size() >= limits::max_bitmaps)
    return base::fail(ErrorKind::limit, "an image can't hold more bitmaps");
  constexpr std::uint64_t least = 1ULL << 9;
  constexpr std::uint64_t most = 1ULL << 31;
  if (!std::has_single_bit(granularity) || granularity < least || granularity > most)
    return base::fail(ErrorKind::usage, "a bitmap's granularity is a power of two from 512 bytes to 2 GiB");
  Bitmap b;
  b.record.name = name;
  b.record.entry.granularity_bits = static_cast<std::uint8_t>(std::countr_zero(granularity));
  b.record.entry.name_size = static_cast<std::uint16_t>(name.size());
  b.record.entry.flags = enabled ? format::bitmap_auto : 0;
  b.covers = image_.size();
  b.loaded = true;
  if (base::divide_up(b.size(), 8) > limits::max_bitmap_bytes)
    return base::fail(ErrorKind::limit, "the bitmap would be too large: choose a coarser granularity");
  b.bits.resize(static_cast<std::size_t>(base::divide_up(b.size(), 8)));
  // An empty bitmap says that nothing was written: from now on writes are recorded.
  b.claimed = begun_ && enabled;
  if (b.claimed) b.record.entry.flags |= format::bitmap_in_use;
  std::vector<Clusters> old;
  if (auto placed = place_bits(b, old); !placed) {
    give_back(0);
    return placed;
  }
  bitmaps_.push_back(std::move(b));
  auto switched = switch_directory(std::move(old));
  if (!switched) bitmaps_.pop_back();
  return switched;
}

base::Result<void> Bitmaps::remove(std::string_view name) {
  const auto found = find(name, false);
  if (!found) return std::unexpected(found.error());
  // What makes no sense can't be freed either: it stays as leaked clusters.
  std::vector<Clusters> old;
  const auto table = table_of(**found);
  if (!table && table.error().kind == ErrorKind::io) return std::unexpected(table.error());
  if (table) {
    old.push_back(changes_.clusters_of((*found)->record.entry.table_offset, table->size() * 8));
    remember_table(old.back());
    for (const auto word : *table)
      if (const format::BitmapTableEntry e{word};
          e.offset().raw() != 0 && image_.geometry().aligned(e.offset()))
        old.push_back(changes_.clusters_of(e.offset(), 1));
  }
  auto gone = std::move(**found);
  const auto at = *found - bitmaps_.data();
  bitmaps_.erase(bitmaps_.begin() + at);
  auto switched = switch_directory(std::move(old));
  if (!switched) bitmaps_.insert(bitmaps_.begin() + at, std::move(gone));
  return switched;
}

base::Result<void> Bitmaps::clear(std::string_view name) {
  const auto found = find(name, true);
  if (!found) return std::unexpected(found.error());
  if (auto claimed = claim({*found}); !claimed) return claimed;
  std::ranges::fill((*found)->bits, std::byte{0});
  return {};
}

base::Result<void> Bitmaps::enable(std::string_view name, bool enabled) {
  const auto found = find(name, true);
  if (!found) return std::unexpected(found.error());
  auto& flags = (*found)->record.entry.flags;
  if ((*found)->enabled() == enabled) return {};
  if (auto claimed = claim({*found}); !claimed) return claimed;
  flags ^= format::bitmap_auto;
  auto switched = switch_directory({});
  if (!switched) flags ^= format::bitmap_auto;
  return switched;
}

base::Result<void> Bitmaps::merge(std::string_view name, Bitmaps& source, std::string_view from) {
  const auto found = find(name, true);
  if (!found) return std::unexpected(found.error());
  const auto other = source.find(from, true);
  if (!other) return std::unexpected(other.error());
  if ((*found)->covers != (*other)->covers)
    return base::fail(
        ErrorKind::usage,
        fmt::format("bitmaps '{}' and '{}' speak of disks of different sizes ({} and {} bytes)",
                    base::escape(name), base::escape(from), (*found)->covers, (*other)->covers));
  if (auto claimed = claim({*found}); !claimed) return claimed;
  const auto& theirs = **other;
  const auto shift = theirs.record.entry.granularity_bits;
  for (std::uint64_t i = 0; i < theirs.size(); ++i)
    if ((theirs.bits[static_cast<std::size_t>(i / 8)] >> (i % 8) & std::byte{1}) != std::byte{0})
      set_bits(**found, i << shift, 1ULL << shift);
  return {};
}

base::Result<bool> Bitmaps::marked(std::string_view name, std::uint64_t at, std::uint64_t length) {
  const auto found = find(name, true);
  if (!found) return std::unexpected(found.error());
  const auto& b = **found;
  if (length == 0 || at >= b.covers) return false;
  const auto shift = b.record.entry.granularity_bits;
  const std::uint64_t last = (at + std::min(length, b.covers - at) - 1) >> shift;
  for (std::uint64_t i = at >> shift; i <= last; ++i)
    if ((b.bits[static_cast<std::size_t>(i / 8)] >> (i % 8) & std::byte{1}) != std::byte{0}) return true;
  return false;
}

}  // namespace cowvet::engine
