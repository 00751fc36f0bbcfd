// Bitmaps from and to the file. Bits are overwritten in place only while the file says that the bitmap is in use; a new
// table and a new directory are written beside the old ones, and one write of the header exchanges them.
#include <algorithm>
#include <functional>
#include <utility>

#include <fmt/format.h>

#include "base/text.hpp"
#include "engine/bitmaps.hpp"
#include "engine/scrap.hpp"

namespace cowvet::engine {

namespace {

using base::ErrorKind;
namespace limits = format::limits;

constexpr auto bitmaps_type = static_cast<std::uint32_t>(format::ExtensionType::bitmaps);

base::Result<void> damaged(std::string_view what) {
  return base::fail(ErrorKind::usage, fmt::format("the {} can't be right: see cowvet check", what));
}

std::vector<std::byte> encode_words(const std::vector<std::uint64_t>& words) { return encode_l1(words); }

}  // namespace

base::Result<void> Bitmaps::load() {
  const auto* data = image_.header.extension(format::ExtensionType::bitmaps);
  if (!image_.fields().has_v3() || !image_.fields().bitmaps_consistent()) return {};
  if (data == nullptr) return damaged("bitmaps feature bit (there are no bitmaps)");
  const auto& g = image_.geometry();
  const auto extension = format::exact<format::BitmapsExtension>(*data);
  if (!extension || extension->reserved != 0 || extension->count == 0 ||
      extension->count > limits::max_bitmaps || extension->directory_size > limits::max_bitmap_directory ||
      extension->directory_offset.raw() == 0 || !g.aligned(extension->directory_offset) ||
      extension->directory_offset.raw() > image_.file.size() ||
      extension->directory_size > image_.file.size() - extension->directory_offset.raw())
    return damaged("bitmaps extension");
  std::vector<std::byte> bytes(static_cast<std::size_t>(extension->directory_size));
  if (auto read = image_.file.read(extension->directory_offset.raw(), bytes, "bitmap directory"); !read)
    return read;
  std::uint64_t position = 0;
  std::vector<Bitmap> list;
  for (std::uint32_t i = 0; i < extension->count; ++i) {
    auto step =
        format::parse_bitmap(base::ConstBytes(bytes).subspan(static_cast<std::size_t>(position)), position);
    if (!step.bitmap) return damaged("bitmap directory");
    position += step.needed;
    Bitmap b;
    b.record = std::move(*step.bitmap);
    b.covers = image_.size();
    b.found_in_use = (b.record.entry.flags & format::bitmap_in_use) != 0;
    list.push_back(std::move(b));
  }
  if (position != bytes.size()) return damaged("bitmap directory");
  bitmaps_ = std::move(list);
  directory_ = changes_.clusters_of(extension->directory_offset, extension->directory_size);
  return {};
}

base::Result<std::vector<std::uint64_t>> Bitmaps::table_of(const Bitmap& bitmap) const {
  const auto& e = bitmap.record.entry;
  if (e.table_offset.raw() == 0 || !image_.geometry().aligned(e.table_offset) ||
      e.table_size > limits::max_bitmap_table_entries)
    return std::unexpected(damaged("bitmap table's place").error());
  return read_l1(image_.file, e.table_offset, e.table_size, "bitmap table");
}

base::Result<void> Bitmaps::load_bits(Bitmap& bitmap) const {
  if (bitmap.loaded) return {};
  const auto& g = image_.geometry();
  const auto table = table_of(bitmap);
  if (!table) return std::unexpected(table.error());
  const std::uint64_t length = base::divide_up(bitmap.size(), 8);
  if (length > limits::max_bitmap_bytes || table->size() != std::max<std::uint64_t>(1, g.clusters(length)))
    return damaged("size of a bitmap");
  Bits bits(static_cast<std::size_t>(length));
  for (std::size_t i = 0; i < table->size(); ++i) {
    const format::BitmapTableEntry e{(*table)[i]};
    const auto begin = i << g.cluster_bits();
    const auto part =
        base::MutableBytes(bits).subspan(begin, std::min<std::size_t>(g.cluster_size(), bits.size() - begin));
    if (e.reserved() != 0 || !g.aligned(e.offset()) || (e.offset().raw() != 0 && e.all_ones()))
      return damaged("bitmap table");
    if (e.offset().raw() != 0) {
      if (auto read = image_.file.read(e.offset().raw(), part, "bitmap"); !read) return read;
    } else {
      std::ranges::fill(part, e.all_ones() ? std::byte{0xff} : std::byte{0});
    }
  }
  if (const auto rest = bitmap.size() % 8; rest != 0) bits.back() &= static_cast<std::byte>((1U << rest) - 1);
  bitmap.bits = std::move(bits);
  bitmap.loaded = true;
  return {};
}

base::Result<void> Bitmaps::claim(const std::vector<Bitmap*>& list) {
  bool written = false;
  for (auto* b : list) {
    auto& flags = b->record.entry.flags;
    if ((flags & format::bitmap_in_use) != 0) continue;
    flags |= format::bitmap_in_use;
    const auto bytes = format::encode(b->record.entry);
    constexpr std::size_t flags_at =
        12;  // four bytes, and entries begin at multiples of 8: within one sector
    const std::uint64_t at =
        (directory_.first << image_.geometry().cluster_bits()) + b->record.position + flags_at;
    if (auto done = image_.file.write_or_end(at, base::ConstBytes(bytes).subspan(flags_at, 4)); !done)
      return done;
    b->claimed = true;
    written = true;
  }
  return written ? image_.file.flush() : base::Result<void>{};
}

base::Result<void> Bitmaps::place_bits(Bitmap& bitmap, std::vector<Clusters>& old) {
  const auto& g = image_.geometry();
  const bool is_new = bitmap.record.entry.table_offset.raw() == 0;
  auto before = is_new ? base::Result<std::vector<std::uint64_t>>{} : table_of(bitmap);
  if (!before) return std::unexpected(before.error());
  std::vector<std::uint64_t> table(
      static_cast<std::size_t>(std::max<std::uint64_t>(1, g.clusters(bitmap.bits.size()))));
  std::vector<std::byte> cluster(static_cast<std::size_t>(g.cluster_size()));
  std::vector<Clusters> superfluous;
  for (std::size_t i = 0; i < std::max(table.size(), before->size()); ++i) {
    const std::uint64_t host = i < before->size() ? format::BitmapTableEntry{(*before)[i]}.offset().raw() : 0;
    const std::size_t begin = std::min(i << g.cluster_bits(), bitmap.bits.size());
    const auto part =
        base::ConstBytes(bitmap.bits).subspan(begin, std::min(cluster.size(), bitmap.bits.size() - begin));
    if (i >= table.size() || base::all_zero(part)) {
      if (host != 0) superfluous.push_back(changes_.clusters_of(base::HostOffset{host}, 1));
      continue;
    }
    std::ranges::fill(std::ranges::copy(part, cluster.begin()).out, cluster.end(), std::byte{0});
    if (host != 0) {
      if (auto written = image_.file.write(host, cluster); !written) return written;
      table[i] = host;
    } else {
      const auto run = place(cluster);
      if (!run) return std::unexpected(run.error());
      table[i] = run->first << g.cluster_bits();
    }
  }
  const auto run = place(encode_words(table));
  if (!run) return std::unexpected(run.error());
  if (!is_new) {
    superfluous.push_back(changes_.clusters_of(bitmap.record.entry.table_offset, before->size() * 8));
    remember_table(superfluous.back());
  }
  remember_table(*run);
  bitmap.record.entry.table_offset = base::HostOffset{run->first << g.cluster_bits()};
  bitmap.record.entry.table_size = static_cast<std::uint32_t>(table.size());
  old.insert(old.end(), superfluous.begin(), superfluous.end());
  return {};
}

base::Result<Clusters> Bitmaps::place(base::ConstBytes bytes) {
  auto run = changes_.place(bytes);
  if (run) placed_.push_back(*run);
  return run;
}

// What was placed and got no owner: left counted, a later flush would make a lost table of it.
void Bitmaps::give_back(std::size_t from) {
  for (std::size_t i = from; i < placed_.size(); ++i)
    (void)changes_.refcounts().lower(placed_[i]);  // at worst it is leaked
  placed_.resize(from);
}

// Tables without an owner while directories are exchanged, all of their clusters.
void Bitmaps::remember_table(Clusters table) {
  for (auto c = table.first; c < table.end(); ++c)
    exchanged_.push_back(c << image_.geometry().cluster_bits());
}

base::Result<void> Bitmaps::store() {
  std::vector<Clusters> old;
  std::vector<std::pair<Bitmap*, format::BitmapEntry>> stored;  // with what the file says
  base::Result<void> result;
  for (auto& b : bitmaps_) {
    if (!b.claimed || !b.usable()) continue;
    const auto before = b.record.entry;
    const auto from = placed_.size();
    if (auto placed = place_bits(b, old); !placed) {  // it stays in use, and is not believed
      give_back(from);
      result = placed;
      continue;
    }
    b.record.entry.flags &= ~format::bitmap_in_use;
    stored.emplace_back(&b, before);
  }
  if (stored.empty()) return result;
  if (auto switched = switch_directory(std::move(old)); !switched) {
    for (auto& [b, before] : stored) b->record.entry = before;
    return switched;
  }
  for (auto& [b, before] : stored) b->claimed = false;
  begun_ = false;
  return result;
}

base::Result<void> Bitmaps::each_cluster(const std::function<void(Clusters)>& visit) const {
  if (bitmaps_.empty()) return {};
  visit(directory_);
  for (const auto& b : bitmaps_) {
    const auto table = table_of(b);
    if (!table) return std::unexpected(table.error());
    visit(changes_.clusters_of(b.record.entry.table_offset, table->size() * 8));
    for (const auto word : *table) {
      const format::BitmapTableEntry e{word};
      if (e.reserved() != 0 || !image_.geometry().aligned(e.offset())) return damaged("bitmap table");
      if (e.offset().raw() != 0) visit(changes_.clusters_of(e.offset(), 1));
    }
  }
  return {};
}

base::Result<void> Bitmaps::switch_directory(std::vector<Clusters> old) {
  auto switched = exchange_directory(std::move(old));
  if (!switched) give_back(0);
  placed_.clear();
  exchanged_.clear();
  return switched;
}

base::Result<void> Bitmaps::exchange_directory(std::vector<Clusters> old) {
  std::vector<std::byte> bytes;
  std::vector<std::uint64_t> positions;
  for (const auto& b : bitmaps_) {
    positions.push_back(bytes.size());
    auto record = b.record;
    record.padding.clear();
    const auto entry = format::encode_bitmap(record);
    bytes.insert(bytes.end(), entry.begin(), entry.end());
    bytes.resize((bytes.size() + 7) / 8 * 8);
  }
  if (bytes.size() > limits::max_bitmap_directory)
    return base::fail(ErrorKind::limit, "an image can't hold more bitmaps: remove some first");
  const auto directory = place(bytes);
  if (!directory) return std::unexpected(directory.error());
  const auto tables = exchanged_;
  const auto note = place(encode_words(tables));
  if (!note) return std::unexpected(note.error());
  const auto noted = note_scrap(
      image_,
      {{.at = base::HostOffset{note->first << image_.geometry().cluster_bits()}, .entries = tables.size()}});
  if (!noted) return std::unexpected(noted.error());
  if (auto done = changes_.commit(true); !done) return done;

  auto fields = image_.fields();
  fields.v3.autoclear_features =
      format::autoclear_word["bitmaps"].set(fields.v3.autoclear_features, bitmaps_.empty() ? 0 : 1);
  auto extensions = image_.header.extensions();
  std::erase_if(extensions, [](const auto& e) { return e.type == bitmaps_type; });
  if (!bitmaps_.empty()) {
    const auto data = format::encode(format::BitmapsExtension{
        .count = static_cast<std::uint32_t>(bitmaps_.size()),
        .reserved = 0,
        .directory_size = bytes.size(),
        .directory_offset = base::HostOffset{directory->first << image_.geometry().cluster_bits()}});
    extensions.push_back({bitmaps_type, {data.begin(), data.end()}});
  }
  if (auto stored = image_.header.store(fields, std::move(extensions), image_.header.backing_name()); !stored)
    return stored;
  placed_.clear();  // all of it has an owner now
  for (std::size_t i = 0; i < bitmaps_.size(); ++i) bitmaps_[i].record.position = positions[i];
  old.push_back(directory_);
  directory_ = *directory;
  old.push_back(*note);
  // The exchange is done, whatever becomes of the rest: told as an error, it would be taken back in memory alone. What
  // stays is noted, and counted down when the image is opened next.
  bool lowered = true;
  for (const auto& run : old) lowered = changes_.refcounts().lower(run).has_value() && lowered;
  if (lowered && changes_.settle()) (void)drop_scrap(image_, changes_, *noted);
  return {};
}

}  // namespace cowvet::engine
