#include "fuzz/structures.hpp"

#include <algorithm>

#include "format/bitmap.hpp"
#include "format/entries.hpp"
#include "format/extensions.hpp"
#include "format/header.hpp"
#include "format/luks.hpp"
#include "format/snapshot.hpp"

namespace cowvet::fuzz {

namespace {

constexpr std::uint64_t most_records = 16, most_samples = 24;

class Finder {
 public:
  Finder(const SparseInput& image, std::minstd_rand& random) : image_(image), random_(random) {}

  std::vector<Structure> run() {
    record("header", 0);
    const std::uint64_t version = image_.load(4, 4);
    if (version >= 3) record("header_v3", 72);
    if (version >= 3) record("header_additional", 104);
    cluster_ = std::uint64_t{1} << std::clamp<std::uint64_t>(image_.load(20, 4), 9, 21);
    extended_ = version >= 3 && (image_.load(72, 8) & format::incompatible_word["extended_l2"].mask()) != 0;
    extensions(version >= 3 ? image_.load(100, 4) : format::disk_size<format::HeaderV2>);
    mapping(image_.load(40, 8), image_.load(36, 4));
    refcounts(image_.load(48, 8), image_.load(56, 4));
    snapshots(image_.load(64, 8), image_.load(60, 4));
    return std::move(found_);
  }

 private:
  // All integers of a record.
  void record(std::string_view name, std::uint64_t offset) {
    const auto* info = format::find_record(name);
    Structure& structure = found_.emplace_back(offset);
    for (const auto& field : info->fields)
      if (!field.text)
        structure.places.push_back({offset + field.offset, field.width, format::word_of(*info, field)});
  }

  // Some entries of a table, preferably such that say something; returns their values.
  std::vector<std::uint64_t> table(std::uint64_t offset, std::uint64_t entries, std::size_t width,
                                   const format::WordInfo* word, std::size_t stride) {
    std::vector<std::uint64_t> values;
    if (offset == 0 || offset >= image_.image_end()) return values;
    entries = std::min(entries, (image_.image_end() - offset) / stride);
    if (entries == 0) return values;
    Structure& structure = found_.emplace_back(offset);
    for (std::uint64_t i = 0; i < 4 * most_samples && structure.places.size() < most_samples; ++i) {
      const std::uint64_t entry = i < most_samples ? i : random_();  // the first ones, then any
      const Place place{offset + entry % entries * stride, width, word};
      const std::uint64_t value = image_.load(place.offset, width);
      if (value == 0 && random_() % 8 != 0) continue;
      structure.places.push_back(place);
      values.push_back(value);
    }
    return values;
  }

  void mapping(std::uint64_t offset, std::uint64_t entries) {
    const auto l1 = table(offset, entries, 8, format::find_word("l1_entry"), 8);
    for (std::size_t i = 0; i < std::min<std::size_t>(l1.size(), 4); ++i) {
      const std::uint64_t l2 = format::L1Entry{l1[i]}.offset().raw();
      const std::size_t stride = extended_ ? 16 : 8;
      table(l2, cluster_ / stride, 8, format::find_word(i % 2 == 0 ? "l2_entry" : "l2_compressed_entry"),
            stride);
      if (extended_) table(l2 + 8, cluster_ / stride, 8, format::find_word("l2_subclusters"), stride);
    }
  }

  void refcounts(std::uint64_t offset, std::uint64_t clusters) {
    const auto blocks =
        table(offset, clusters * cluster_ / 8, 8, format::find_word("refcount_table_entry"), 8);
    const std::uint64_t order = image_.load(4, 4) >= 3 ? image_.load(96, 4) : 4;
    const std::size_t width = order <= 3 ? 1 : order >= 6 ? 8 : std::size_t{1} << (order - 3);
    for (std::size_t i = 0; i < std::min<std::size_t>(blocks.size(), 4); ++i)
      table(blocks[i], cluster_ / width, width, nullptr, width);
  }

  void snapshots(std::uint64_t offset, std::uint64_t count) {
    for (std::uint64_t i = 0; offset != 0 && i < std::min(count, most_records) && offset < image_.image_end();
         ++i) {
      record("snapshot", offset);
      const std::uint64_t extra = image_.load(offset + 36, 4);
      if (extra >= format::disk_size<format::SnapshotExtra>)
        record("snapshot_extra", offset + format::disk_size<format::SnapshotEntry>);
      if (i < 4) mapping(image_.load(offset, 8), image_.load(offset + 8, 4));
      const std::uint64_t length = format::disk_size<format::SnapshotEntry> + extra +
                                   image_.load(offset + 12, 2) + image_.load(offset + 14, 2);
      offset += (length + 7) / 8 * 8;
    }
  }

  void bitmaps(std::uint64_t offset, std::uint64_t count) {
    for (std::uint64_t i = 0; offset != 0 && i < std::min(count, most_records) && offset < image_.image_end();
         ++i) {
      record("bitmap", offset);
      table(image_.load(offset, 8), image_.load(offset + 8, 4), 8, format::find_word("bitmap_table_entry"),
            8);
      const std::uint64_t length =
          format::disk_size<format::BitmapEntry> + image_.load(offset + 20, 4) + image_.load(offset + 18, 2);
      offset += (length + 7) / 8 * 8;
    }
  }

  void luks(std::uint64_t offset) {
    if (offset == 0 || offset >= image_.image_end()) return;
    record("luks", offset);
    for (std::size_t slot = 0; slot < format::luks_slots; ++slot)
      record("luks_slot",
             offset + format::disk_size<format::LuksHeader> + slot * format::disk_size<format::LuksKeySlot>);
  }

  void extensions(std::uint64_t at) {
    for (std::uint64_t i = 0; i < most_records && at < cluster_; ++i) {
      record("extension", at);
      const auto type = static_cast<format::ExtensionType>(image_.load(at, 4));
      const std::uint64_t length = image_.load(at + 4, 4), data = at + 8;
      if (type == format::ExtensionType::end) return;
      if (type == format::ExtensionType::bitmaps) {
        record("bitmaps", data);
        bitmaps(image_.load(data + 16, 8), image_.load(data, 4));
      } else if (type == format::ExtensionType::encryption) {
        record("encryption", data);
        luks(image_.load(data, 8));
      } else if (type == format::ExtensionType::feature_names) {
        record("feature_name", data);
      }
      at = data + (length + 7) / 8 * 8;
    }
  }

  const SparseInput& image_;
  std::minstd_rand& random_;
  std::vector<Structure> found_;
  std::uint64_t cluster_ = 512;
  bool extended_ = false;
};

}  // namespace

std::vector<Structure> structures_of(const SparseInput& image, std::minstd_rand& random) {
  return Finder(image, random).run();
}

}  // namespace cowvet::fuzz
