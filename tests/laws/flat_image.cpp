#include "tests/laws/flat_image.hpp"

#include <algorithm>
#include <string_view>

#include "format/bitmap.hpp"
#include "format/compression.hpp"
#include "format/extensions.hpp"
#include "format/geometry.hpp"
#include "format/header.hpp"
#include "format/refcounts.hpp"
#include "format/snapshot.hpp"

namespace cowvet::laws {

namespace {

using namespace format;

constexpr std::uint64_t token_zero = 0, token_backing = 1, token_unreadable = 2;

class Reader {
 public:
  Reader(base::ConstBytes image, const Header& header, const Geometry& geometry)
      : image_(image), h_(header), g_(geometry) {}

  FlatImage read() {
    out_.writable = !h_.dirty() && !h_.corrupt();
    count(0, g_.cluster_size());
    count(h_.v2.refcount_table_offset.raw(), h_.v2.refcount_table_clusters * g_.cluster_size());
    for (std::uint64_t i = 0; i < h_.v2.refcount_table_clusters * g_.cluster_size() / 8; ++i)
      if (const auto block = word(h_.v2.refcount_table_offset.raw() + i * 8)) count(block, g_.cluster_size());
    count(h_.v2.l1_table_offset.raw(), std::uint64_t{h_.v2.l1_size} * 8);
    out_.layers.push_back(layer(h_.v2.l1_table_offset.raw(), h_.v2.l1_size, h_.v2.size));
    const auto snapshots = read_snapshots();
    for (const auto& s : snapshots) {
      count(s.entry.l1_table_offset.raw(), std::uint64_t{s.entry.l1_size} * 8);
      out_.layers.push_back(
          layer(s.entry.l1_table_offset.raw(), s.entry.l1_size, s.disk_size_bytes().value_or(h_.v2.size)));
    }
    read_extensions();
    check_counts();
    check_copied();
    return std::move(out_);
  }

 private:
  [[nodiscard]] base::ConstBytes at(std::uint64_t offset, std::uint64_t length) const {
    if (offset > image_.size()) return {};
    return image_.subspan(static_cast<std::size_t>(offset),
                          static_cast<std::size_t>(std::min<std::uint64_t>(length, image_.size() - offset)));
  }
  [[nodiscard]] std::uint64_t word(std::uint64_t offset) const {
    const auto bytes = at(offset, 8);
    const auto eight = base::prefix<8>(bytes);
    return eight ? base::load_be<std::uint64_t, 0>(*eight) : 0;
  }
  void count(std::uint64_t offset, std::uint64_t length, std::uint64_t times = 1) {
    if (length == 0 || offset > image_.size()) return;
    const std::uint64_t last =
        std::min<std::uint64_t>(offset + length - 1, image_.size() + g_.cluster_size()) >> g_.cluster_bits();
    for (std::uint64_t c = offset >> g_.cluster_bits(); c <= last; ++c) out_.refs[c] += times;
  }
  [[nodiscard]] static std::uint64_t token(base::ConstBytes bytes) {
    if (base::all_zero(bytes)) return token_zero;
    return std::hash<std::string_view>{}(as_text(bytes)) | 4;
  }

  [[nodiscard]] Layer layer(std::uint64_t l1, std::uint64_t entries, std::uint64_t size) {
    Layer layer{.size = size, .content = {}};
    entries = std::min<std::uint64_t>(entries, 4096);
    const std::uint64_t disk = std::min<std::uint64_t>(g_.l1_entries(size), 4096);
    for (std::uint64_t i = 0; i < std::max(entries, disk); ++i) {
      const L1Entry entry{i < entries ? word(l1 + i * 8) : 0};
      const std::uint64_t table = entry.offset().raw();
      const bool usable = table != 0 && g_.aligned(entry.offset()) && table < image_.size();
      if (usable) count(table, g_.cluster_size());
      for (std::uint64_t j = 0; j < g_.l2_entries(); ++j) {
        const std::uint64_t place = table + j * g_.l2_entry_size();
        const bool behind = i < disk && i * g_.span() + j * g_.cluster_size() >= size;
        guest_ = i * g_.span() + j * g_.cluster_size();
        cluster(usable ? word(place) : 0, usable && g_.extended_l2() ? word(place + 8) : 0,
                table != 0 && !usable, behind ? nullptr : &layer.content);
      }
    }
    // Behind the disk there is only what is mapped there: a longer L1 table is no other content.
    const std::uint64_t parts = g_.extended_l2() ? subclusters_per_cluster : 1;
    while (layer.content.size() > g_.clusters(size) * parts && layer.content.back() == token_backing)
      layer.content.pop_back();
    return layer;
  }

  // Counts what an entry owns and appends its content, if that is asked for.
  void cluster(std::uint64_t entry_word, std::uint64_t second, bool lost,
               std::vector<std::uint64_t>* content) {
    const L2Entry entry{entry_word};
    const std::uint64_t parts = g_.extended_l2() ? subclusters_per_cluster : 1;
    const auto put = [&](std::uint64_t t) {
      if (content != nullptr) content->insert(content->end(), static_cast<std::size_t>(parts), t);
    };
    if (lost) return put(token_unreadable);
    if (h_.external_data_file() && entry.compressed()) return put(token_unreadable);
    if (entry.compressed()) {
      const auto range = g_.compressed_range(entry);
      count(range.offset.raw(), range.length());
      if (content == nullptr) return;
      std::vector<std::byte> out(static_cast<std::size_t>(g_.cluster_size()));
      const auto codec = h_.compression();
      const bool good =
          codec &&
          decoder_.decode(*codec, at(range.offset.raw(), range.length()), out).produced == out.size();
      return put(good ? token(out) : token_unreadable);
    }
    const std::uint64_t host = entry.offset().raw();
    if (h_.external_data_file()) return external(entry, second, content);
    if (host != 0) count(host, g_.cluster_size());
    if (content == nullptr) return;
    const bool sound = host == 0 || (g_.aligned(entry.offset()) && host < image_.size());
    if (!g_.extended_l2()) {
      if (entry.zero()) return put(token_zero);
      if (host == 0) return put(token_backing);
      return put(sound ? token(at(host, g_.cluster_size())) : token_unreadable);
    }
    const Subclusters sub{second};
    for (std::uint32_t k = 0; k < subclusters_per_cluster; ++k) {
      const bool allocated = (sub.allocated() >> k & 1) != 0;
      const bool zero = (sub.zero() >> k & 1) != 0;
      content->push_back(allocated && (zero || host == 0 || !sound) ? token_unreadable
                         : zero                                     ? token_zero
                         : allocated ? token(at(host + k * g_.subcluster_size(), g_.subcluster_size()))
                                     : token_backing);
    }
  }

  // The bytes are in another file: their place there stands for them. Offset 0 is a place when COPIED is set.
  void external(L2Entry entry, std::uint64_t second, std::vector<std::uint64_t>* content) {
    if (content == nullptr) return;
    const std::uint64_t host = entry.offset().raw();
    const bool allocated = host != 0 || entry.copied();
    if (allocated && (host != guest_ || !entry.copied())) out_.writable = false;
    if (g_.extended_l2()) return content->push_back(entry.word ^ second);
    content->push_back(entry.zero() ? token_zero : allocated ? host | 4 : token_backing);
  }

  std::vector<Snapshot> read_snapshots() {
    std::vector<Snapshot> list;
    const std::uint64_t table = h_.v2.snapshots_offset.raw();
    std::uint64_t position = 0;
    std::uint64_t end = 0;
    for (std::uint32_t i = 0; i < h_.v2.nb_snapshots && i < 64; ++i) {
      const auto step = parse_snapshot(at(table + position, image_.size()), position);
      if (!step.snapshot) break;
      end = position + step.snapshot->length();
      position = (end + 7) & ~std::uint64_t{7};
      list.push_back(*step.snapshot);
    }
    count(table, end);
    return list;
  }

  void read_extensions() {
    const std::uint64_t end =
        h_.v2.backing_file_offset.raw() != 0 ? h_.v2.backing_file_offset.raw() : g_.cluster_size();
    const auto area = parse_extensions(at(0, g_.cluster_size()), h_.length(), end);
    if (const auto* found = area.find(ExtensionType::encryption))
      if (const auto pointer = exact<EncryptionExtension>(found->data))
        count(pointer->offset.raw(), pointer->length);
    const auto* found = area.find(ExtensionType::bitmaps);
    if (found == nullptr || !h_.bitmaps_consistent()) return;
    const auto extension = exact<BitmapsExtension>(found->data);
    if (!extension) return;
    count(extension->directory_offset.raw(), extension->directory_size);
    std::uint64_t position = 0;
    for (std::uint32_t i = 0; i < extension->count && i < 64; ++i) {
      const auto step =
          parse_bitmap(at(extension->directory_offset.raw() + position, extension->directory_size), position);
      if (!step.bitmap) break;
      position += step.needed;
      const auto& entry = step.bitmap->entry;
      count(entry.table_offset.raw(), std::uint64_t{entry.table_size} * 8);
      for (std::uint64_t t = 0; t < std::min<std::uint64_t>(entry.table_size, 4096); ++t)
        if (const BitmapTableEntry data{word(entry.table_offset.raw() + t * 8)}; data.offset().raw() != 0)
          count(data.offset().raw(), g_.cluster_size());
    }
  }

  [[nodiscard]] std::uint64_t stored(std::uint64_t c) const {
    const std::uint64_t block = word(h_.v2.refcount_table_offset.raw() + (c >> g_.block_bits()) * 8);
    return block == 0
               ? 0
               : refcount_at(at(block, g_.cluster_size()), g_.refcount_order(), c & (g_.block_entries() - 1));
  }
  void check_counts() {
    for (std::uint64_t c = 0; c < base::divide_up(image_.size(), g_.cluster_size()); ++c) {
      const auto found = out_.refs.find(c);
      const std::uint64_t expected = found == out_.refs.end() ? 0 : found->second;
      // Too high a count only wastes space; too low a one lets a writer take what is in use.
      if (stored(c) < expected) out_.writable = false;
    }
  }
  // COPIED on what has more than one owner lets a writer change a snapshot.
  void check_copied() {
    if (h_.external_data_file()) return;
    const auto shared = [&](std::uint64_t offset) {
      const auto found = out_.refs.find(offset >> g_.cluster_bits());
      return found != out_.refs.end() && found->second > 1;
    };
    for (std::uint64_t i = 0; i < std::min<std::uint64_t>(h_.v2.l1_size, 4096); ++i) {
      const L1Entry l1{word(h_.v2.l1_table_offset.raw() + i * 8)};
      if (l1.offset().raw() == 0) continue;
      if (l1.copied() && shared(l1.offset().raw())) out_.writable = false;
      for (std::uint64_t j = 0; j < g_.l2_entries(); ++j) {
        const L2Entry l2{word(l1.offset().raw() + j * g_.l2_entry_size())};
        if (!l2.compressed() && l2.offset().raw() != 0 && l2.copied() && shared(l2.offset().raw()))
          out_.writable = false;
      }
    }
  }

  base::ConstBytes image_;
  const Header& h_;
  const Geometry& g_;
  Decoder decoder_;
  std::uint64_t guest_ = 0;  // of the cluster at hand
  FlatImage out_;
};

}  // namespace

std::optional<FlatImage> read_flat(base::ConstBytes image) {
  const auto header = decode_header(image);
  if (!header || header->v2.magic != qcow_magic || (header->v2.version != 2 && header->v2.version != 3))
    return std::nullopt;
  const auto geometry = Geometry::make(
      header->v2.cluster_bits, header->has_v3() ? header->v3.refcount_order : 4, header->extended_l2());
  if (!geometry || geometry->cluster_size() > 65536 || header->v2.l1_size > 4096 ||
      header->v2.refcount_table_clusters > 16 || header->v2.size > geometry->span() * 4096)
    return std::nullopt;
  return Reader(image, *header, *geometry).read();
}

}  // namespace cowvet::laws
