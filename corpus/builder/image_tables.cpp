// The image's own structures beside the mapping: snapshots, bitmaps, the LUKS region, clusters without an owner.
#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "base/checked.hpp"
#include "corpus/builder/image.hpp"
#include "format/bitmap.hpp"
#include "format/luks.hpp"
#include "format/snapshot.hpp"

namespace cowvet::corpus {
namespace {

constexpr std::byte unknown_byte{0xee};  // of fields that nobody knows yet

void put_text(std::span<std::byte> out, std::string_view text) {
  for (std::size_t i = 0; i < text.size(); ++i) out[i] = static_cast<std::byte>(text[i]);
}

}  // namespace

// Moves the active L1 table if its clusters are too few.
void Image::grow_l1(std::uint64_t entries) {
  if (entries <= l1_entries_) return;
  if (geometry_.clusters(entries * 8) != geometry_.clusters(l1_entries_ * 8)) {
    const std::uint64_t moved = clusters_->take(geometry_.clusters(entries * 8));
    if (l1_entries_ != 0) file_.write(moved, file_.read(l1_offset_, l1_entries_ * 8));
    for (std::uint64_t i = 0; i < geometry_.clusters(l1_entries_ * 8); ++i)
      clusters_->release(l1_offset_ + (i << geometry_.cluster_bits()));
    l1_offset_ = moved;
  }
  l1_entries_ = entries;
}

// One reference more for all that the active layer maps; what is shared is not written in place, so COPIED goes.
void Image::share_with_snapshot(std::uint64_t snapshot_l1) {
  file_.for_words(l1_offset_, l1_entries_, [&](std::uint64_t i, std::uint64_t l1_word) {
    const std::uint64_t table = l1_word & format::entry_offset_mask;
    clusters_->reference(table);
    file_.store(l1_offset_ + i * 8, 8, table);
    file_.store(snapshot_l1 + i * 8, 8, table);
    file_.for_words(table, geometry_.cluster_size() / 8, [&](std::uint64_t j, std::uint64_t word) {
      const format::L2Entry entry{word};
      if (geometry_.extended_l2() && j % 2 == 1) return;  // the second word of an entry
      if (entry.compressed()) {
        const auto range = geometry_.compressed_range(entry);
        const std::uint64_t last = (range.offset.raw() + range.length() - 1) >> geometry_.cluster_bits();
        for (auto c = geometry_.cluster_of(range.offset).raw(); c <= last; ++c)
          clusters_->reference(c << geometry_.cluster_bits());
      } else if (entry.offset().raw() != 0) {
        clusters_->reference(entry.offset().raw());
        file_.store(table + j * 8, 8, word & ~format::copied_flag);
      }
    });
  });
}

Image& Image::snapshot(const SnapshotOptions& options) {
  if (failed()) return *this;
  if (data_file_)
    return complain("an image with a data file has no internal snapshots; add them under damage:");
  // The VM state is written behind the disk, shared with the snapshot, and dropped from the active layer again.
  GuestRange vm_state{};
  if (options.vm_state != 0) {
    const std::uint64_t first_l1 = geometry_.l1_entries(active_.size);
    vm_state.first = first_l1 << geometry_.l2_bits();
    vm_state.last = vm_state.first + geometry_.clusters(options.vm_state) - 1;
    grow_l1((vm_state.last >> geometry_.l2_bits()) + 1);
    write_clusters(vm_state, ~0U, 0, {});
  }
  Snapshot s{options, 0, l1_entries_, active_};
  if (s.options.id.empty()) s.options.id = fmt::format("{}", snapshots_.size() + 1);
  if (l1_entries_ != 0) s.l1_offset = clusters_->take(geometry_.clusters(l1_entries_ * 8));
  share_with_snapshot(s.l1_offset);
  snapshots_.push_back(std::move(s));
  ++generation_;
  stream_end_ = 0;
  if (options.vm_state != 0) unmap_clusters(vm_state);
  return *this;
}

Image& Image::resize(std::uint64_t size) {
  if (failed()) return *this;
  if (data_file_) data_file_->resize(size);
  const std::uint64_t kept = geometry_.clusters(size);
  const std::uint64_t had = geometry_.clusters(active_.size);
  if (kept < had) {
    unmap_clusters({kept, had - 1});
    active_.writes.push_back({{kept, had - 1}, Written::What::unallocated, {}, generation_, 0});
  }
  grow_l1(geometry_.l1_entries(size));
  active_.size = size;
  return *this;
}

Image& Image::bitmap(const BitmapOptions& options) {
  if (failed()) return *this;
  if (options_.version < 3) return complain("version 2 has no bitmaps");
  const std::uint64_t cs = geometry_.cluster_size();
  const std::uint64_t bits = base::divide_up(active_.size, std::uint64_t{1} << options.granularity_bits);
  const std::uint64_t bits_per_cluster = cs * 8;
  Bitmap b;
  b.options = options;
  b.entries = format::bitmap_table_entries(active_.size, options.granularity_bits, cs);
  if (b.entries != 0)
    b.place.table = {clusters_->take(geometry_.clusters(b.entries * 8), true), b.entries * 8};
  for (auto range : options.set)
    if (range.first > range.last || range.last >= bits)
      return complain(
          fmt::format("bits {}..{} are not in the bitmap, which has {} bits", range.first, range.last, bits));

  for (std::uint64_t i = 0; i < b.entries; ++i) {
    const std::uint64_t first = i * bits_per_cluster;
    const std::uint64_t count = std::min(bits_per_cluster, bits - first);
    std::vector<std::byte> bytes;
    std::uint64_t set = 0;
    for (auto range : options.set) {
      for (auto bit = std::max(range.first, first); bit <= range.last && bit < first + count; ++bit) {
        bytes.resize(cs);
        auto& byte = bytes[(bit - first) / 8];
        const auto mask = static_cast<std::byte>(1U << (bit % 8));
        if ((byte & mask) == std::byte{0}) ++set;
        byte |= mask;
      }
    }
    if (set == 0) continue;
    if (set == count && options.ones) {
      file_.store(b.place.table.offset + i * 8, 8, 1);
      continue;
    }
    const std::uint64_t host = clusters_->take(1);
    file_.write(host, bytes);
    file_.store(b.place.table.offset + i * 8, 8, host);
    b.place.data[i] = host;
  }
  bitmaps_.push_back(std::move(b));
  return *this;
}

Image& Image::reserve(const std::string& name, std::uint64_t clusters, std::uint64_t refcount,
                      const Content& content) {
  if (failed()) return *this;
  if (clusters == 0 || !reserved_.try_emplace(name).second)
    return complain(fmt::format("'{}' is reserved already, or without clusters", name));
  const Region region{clusters_->take(clusters, false, refcount), clusters << geometry_.cluster_bits()};
  reserved_[name] = region;
  if (content.kind == Content::Kind::none) return *this;
  std::vector<std::byte> bytes(geometry_.cluster_size());
  for (std::uint64_t at = 0; at < region.length; at += bytes.size()) {
    fill_content(content, (region.offset + at) >> geometry_.cluster_bits(), generation_, bytes);
    file_.write(region.offset + at, bytes);
  }
  return *this;
}

Image& Image::place(std::uint64_t offset) {
  if (failed()) return *this;
  if (offset > format::entry_offset_mask) return complain("no table can name a cluster at or above 2^56");
  clusters_->skip_to(offset);
  stream_end_ = 0;
  return *this;
}

// A LUKS1 header as QEMU lays it out: the header in 4 KiB, eight areas for key material, each a multiple of 4 KiB. The
// key material is noise: no password opens it, but every field is sound.
void Image::create_luks() {
  constexpr std::uint32_t alignment = 4096 / format::limits::sector;
  const bool xts = options_.luks_key_bytes == 64;
  const std::uint64_t material = std::uint64_t{options_.luks_key_bytes} * format::luks_stripes;
  const auto slot_sectors =
      static_cast<std::uint32_t>(*base::round_up(base::divide_up(material, 512), alignment));
  format::LuksHeader header;
  header.magic = format::luks_magic;
  put_text(header.cipher_name, "aes");
  put_text(header.cipher_mode, xts ? "xts-plain64" : "cbc-essiv:sha256");
  put_text(header.hash, "sha256");
  header.payload_offset = alignment + 8 * slot_sectors;
  header.key_bytes = options_.luks_key_bytes;
  fill_noise(1, header.digest);
  fill_noise(2, header.salt);
  header.iterations = 100'000;
  put_text(header.uuid, "00112233-4455-6677-8899-aabbccddeeff");

  luks_ = Region{0, std::uint64_t{header.payload_offset} * format::limits::sector};
  luks_->offset = clusters_->take(geometry_.clusters(luks_->length));
  file_.write(luks_->offset, format::encode(header));
  for (std::uint32_t i = 0; i < format::luks_slots; ++i) {
    format::LuksKeySlot slot;
    slot.state = format::luks_slot_free;
    slot.key_offset = alignment + i * slot_sectors;
    slot.stripes = format::luks_stripes;
    if (i < options_.luks_active_slots) {
      slot.state = format::luks_slot_active;
      slot.iterations = 200'000;
      fill_noise(3 + i, slot.salt);
      std::vector<std::byte> bytes(material);
      fill_noise(100 + i, bytes);
      file_.write(luks_->offset + std::uint64_t{slot.key_offset} * format::limits::sector, bytes);
    }
    file_.write(
        luks_->offset + format::disk_size<format::LuksHeader> + i * format::disk_size<format::LuksKeySlot>,
        format::encode(slot));
  }
}

void Image::write_bitmap_directory(Layout& layout) {
  std::vector<std::byte> directory;
  for (const auto& b : bitmaps_) {
    format::Bitmap record;
    record.entry.table_offset = base::HostOffset{b.place.table.offset};
    record.entry.table_size = static_cast<std::uint32_t>(b.entries);
    record.entry.flags =
        (b.options.in_use ? format::bitmap_in_use : 0) | (b.options.automatic ? format::bitmap_auto : 0);
    record.entry.granularity_bits = b.options.granularity_bits;
    record.entry.name_size = static_cast<std::uint16_t>(b.options.name.size());
    record.entry.extra_data_size = b.options.extra_size;
    record.extra.resize(b.options.extra_size, unknown_byte);
    record.name = b.options.name;
    record.padding.resize((8 - (record.extra.size() + record.name.size()) % 8) % 8);
    auto place = b.place;
    place.offset = directory.size();
    place.extra_size = b.options.extra_size;
    place.name_size = record.entry.name_size;
    layout.bitmaps.push_back(std::move(place));
    const auto bytes = format::encode_bitmap(record);
    directory.insert(directory.end(), bytes.begin(), bytes.end());
  }
  if (directory.empty()) return;
  layout.bitmap_directory = {clusters_->take(geometry_.clusters(directory.size()), true), directory.size()};
  file_.write(layout.bitmap_directory.offset, directory);
  for (auto& place : layout.bitmaps) place.offset += layout.bitmap_directory.offset;
}

void Image::write_snapshot_table(Layout& layout) {
  std::vector<std::byte> table;
  for (const auto& s : snapshots_) {
    const auto& o = s.options;
    format::Snapshot record;
    record.entry.l1_table_offset = base::HostOffset{s.l1_offset};
    record.entry.l1_size = static_cast<std::uint32_t>(s.l1_entries);
    record.entry.id_size = static_cast<std::uint16_t>(o.id.size());
    record.entry.name_size = static_cast<std::uint16_t>(o.name.size());
    record.entry.date_sec =
        o.date_sec.value_or(1'700'000'000 + 60 * static_cast<std::uint32_t>(layout.snapshots.size()));
    record.entry.date_nsec = o.date_nsec;
    record.entry.vm_clock_nsec = o.vm_clock_nsec;
    record.entry.vm_state_size = o.vm_state >> 32 == 0 ? static_cast<std::uint32_t>(o.vm_state) : 0;
    record.entry.extra_data_size = o.extra_size.value_or(options_.version < 3 ? 0 : 24);
    const auto known = format::encode(format::SnapshotExtra{o.vm_state, s.layer.size, o.icount});
    record.extra.assign(known.begin(), known.end());
    record.extra.resize(record.entry.extra_data_size, unknown_byte);
    record.id = o.id;
    record.name = o.name;
    record.padding.resize((8 - record.length() % 8) % 8);
    layout.snapshots.push_back({table.size(), record.entry.extra_data_size, record.entry.id_size,
                                record.entry.name_size, mapping_of(s.l1_offset, s.l1_entries)});
    const auto bytes = format::encode_snapshot(record);
    table.insert(table.end(), bytes.begin(), bytes.end());
    layout.snapshot_table.length = table.size() - record.padding.size();
  }
  if (table.empty()) return;
  layout.snapshot_table.offset = clusters_->take(geometry_.clusters(layout.snapshot_table.length), true);
  file_.write(layout.snapshot_table.offset, base::ConstBytes(table).first(layout.snapshot_table.length));
  for (auto& place : layout.snapshots) place.offset += layout.snapshot_table.offset;
}

MappingPlace Image::mapping_of(std::uint64_t l1_offset, std::uint64_t l1_entries) const {
  MappingPlace place{l1_offset, l1_entries, {}};
  file_.for_words(l1_offset, l1_entries, [&](std::uint64_t i, std::uint64_t word) {
    place.l2[i] = word & format::entry_offset_mask;
  });
  return place;
}

}  // namespace cowvet::corpus
