// 1. A refcount table is looked for: first where the damaged header says it is, then at the head of every cluster, for
//    every cluster size and refcount width. It is believed when the block it names counts the header, the table and the
//    block itself exactly once and nothing behind the end of the file: chance does not do that.
// 2. The L1 table: where the header says, or the cluster counted once whose entries lead to what looks like L2 tables.
// 3. Whatever else the stored header says is kept as far as it agrees with that.
#include "analyzer/infer.hpp"

#include <algorithm>
#include <array>

#include <fmt/format.h>

#include "analyzer/leaks.hpp"
#include "base/text.hpp"
#include "format/refcounts.hpp"

namespace cowvet::analyzer {

using namespace findings::literals;
using base::HostOffset;
using findings::Finding;
using format::Geometry;

namespace {

constexpr std::uint64_t most_clusters_tried =
    1U << 16;  // heads of clusters that are looked at, holes not counted

class Inference {
 public:
  explicit Inference(Image& image) : image_(image), stored_(image.header) {}

  bool run() {
    if (!find_refcounts()) return false;
    find_l1();
    adopt();
    return true;
  }

 private:
  struct RefcountGuess {
    std::uint32_t cluster_bits = 0, order = 0;
    std::uint64_t table = 0;
    std::uint64_t counted = 0;  // clusters of the file with a refcount, in the first block
  };
  struct L1Guess {
    std::uint64_t offset = 0, entries = 0, copied = 0,
                  used = 0;  // used: entries up to the last one that is not zero
    bool extended = false;
  };

  [[nodiscard]] std::vector<std::byte> bytes(std::uint64_t offset, std::uint64_t length) const {
    if (offset >= image_.eof) return {};
    std::vector<std::byte> b(static_cast<std::size_t>(std::min(length, image_.eof - offset)));
    const auto read = image_.device.read(offset, b);
    b.resize(static_cast<std::size_t>(read.os_error == 0 ? read.valid : 0));
    return b;
  }
  [[nodiscard]] std::optional<std::uint64_t> word(std::uint64_t offset) const {
    const auto b = bytes(offset, 8);
    const auto eight = base::prefix<8>(b);
    if (!eight) return std::nullopt;
    return base::load_be<std::uint64_t, 0>(*eight);
  }

  // Calls use(offset) for the clusters' starts that hold data, until it says true.
  template <class Use>
  bool any_cluster(std::uint32_t cluster_bits, Use&& use) const {
    std::uint64_t tried = 0;
    for (std::uint64_t at = 1ULL << cluster_bits; at < image_.eof && tried < most_clusters_tried;) {
      const auto extent = image_.device.extent(at);
      if (extent.hole) {
        const auto next = base::round_up(std::max(extent.end, at + 1), 1ULL << cluster_bits);
        if (!next) return false;
        at = *next;
        continue;
      }
      for (; at < extent.end && tried < most_clusters_tried; at += 1ULL << cluster_bits, ++tried)
        if (use(at)) return true;
    }
    return false;
  }

  // Whether the refcount table may be at `table`, and what speaks for it.
  [[nodiscard]] std::optional<RefcountGuess> judge_table(std::uint32_t cluster_bits, std::uint64_t table,
                                                         std::uint64_t first_entry) const {
    const std::uint64_t cluster = 1ULL << cluster_bits;
    const auto fits = [&](std::uint64_t offset) {
      return offset != 0 && offset % cluster == 0 && offset <= image_.eof && image_.eof - offset >= cluster;
    };
    if (!fits(table) || !fits(first_entry) || first_entry == table) return std::nullopt;
    const auto block = bytes(first_entry, cluster);
    const std::uint64_t clusters = base::divide_up(image_.eof, cluster);
    std::optional<RefcountGuess> best;
    for (std::uint32_t order = 0; order <= format::limits::max_refcount_order; ++order) {
      const std::uint64_t entries = (cluster * 8) >> order;
      const auto counted_once = [&](std::uint64_t c) {
        if (c < entries) return format::refcount_at(block, order, c) == 1;
        const auto entry = word(table + c / entries * 8);
        if (!entry || !fits(*entry)) return false;
        return format::refcount_at(bytes(*entry, cluster), order, c % entries) == 1;
      };
      if (!counted_once(0) || !counted_once(table >> cluster_bits) ||
          !counted_once(first_entry >> cluster_bits))
        continue;
      RefcountGuess guess{cluster_bits, order, table, 0};
      bool beyond = false;
      for (std::uint64_t c = 0; c < entries && !beyond; ++c) {
        const bool counted = format::refcount_at(block, order, c) != 0;
        beyond = counted && c >= clusters;
        guess.counted += counted ? 1U : 0U;
      }
      if (!beyond && (!best || guess.counted > best->counted)) best = guess;
    }
    return best;
  }

  bool find_refcounts() {
    std::optional<RefcountGuess> best;
    const auto consider = [&](std::uint32_t bits, std::uint64_t table) {
      const auto entry = word(table);
      if (!entry || (*entry & format::refcount_table_word.reserved_mask) != 0) return false;
      const auto guess = judge_table(bits, table, *entry);
      if (guess && (!best || (guess->counted << guess->cluster_bits) > (best->counted << best->cluster_bits)))
        best = guess;
      return guess.has_value();
    };
    for (std::uint32_t bits = format::limits::min_cluster_bits; bits <= format::limits::max_cluster_bits;
         ++bits)
      consider(bits, stored_.v2.refcount_table_offset.raw());
    // Largest clusters first: their starts are a few of the smaller ones' starts.
    for (std::uint32_t bits = format::limits::max_cluster_bits;
         !best && bits >= format::limits::min_cluster_bits; --bits)
      any_cluster(bits, [&](std::uint64_t at) { return consider(bits, at); });
    if (best) refcounts_ = *best;
    return best.has_value();
  }

  [[nodiscard]] std::uint64_t refcount(std::uint64_t cluster) const {
    const std::uint64_t entries = (1ULL << refcounts_.cluster_bits << 3) >> refcounts_.order;
    const auto block = word(refcounts_.table + cluster / entries * 8);
    if (!block || *block == 0) return 0;
    const std::uint64_t unit = ((cluster % entries) << refcounts_.order) / 8 & ~std::uint64_t{7};
    const auto b = bytes(*block + unit, 8);
    return format::refcount_at(b, refcounts_.order, cluster % entries - (unit * 8 >> refcounts_.order));
  }

  // Whether an L1 table may begin at `offset`, judging its first cluster (or `declared` entries, when that is less).
  [[nodiscard]] std::optional<L1Guess> judge_l1(std::uint64_t offset, std::uint64_t declared,
                                                bool extended) const {
    const std::uint64_t cluster = 1ULL << refcounts_.cluster_bits;
    const auto geometry = Geometry::make(refcounts_.cluster_bits, refcounts_.order, extended);
    if (!geometry || offset == 0 || offset % cluster != 0 || offset == refcounts_.table) return std::nullopt;
    const auto table = bytes(offset, std::min(cluster, base::saturating_mul(declared, 8)));
    const base::BigEndianTable<std::uint64_t> words(table);
    const ScanRules rules{.geometry = *geometry, .eof = image_.eof};
    L1Guess guess{.offset = offset, .entries = words.size(), .extended = extended};
    std::uint64_t looked_at = 0;
    std::uint64_t tables = 0;
    for (std::size_t i = 0; i < words.size(); ++i) {
      const format::L1Entry entry{words[i]};
      if (entry.word == 0) continue;
      guess.used = i + 1;
      if (entry.reserved() != 0 || entry.offset().raw() == 0 || !geometry->aligned(entry.offset()) ||
          entry.offset().raw() >= image_.eof)
        return std::nullopt;
      guess.copied += entry.copied() ? 1U : 0U;
      if (looked_at >= 64) continue;
      ++looked_at;
      const auto content = classify(bytes(entry.offset().raw(), cluster), rules).content;
      if (content == Content::l2_table || content == Content::empty) ++tables;
    }
    if (tables * 2 < looked_at) return std::nullopt;
    return guess;
  }

  void find_l1() {
    const std::uint64_t declared = stored_.v2.l1_size;
    for (const bool extended : {stored_.extended_l2(), !stored_.extended_l2()}) {
      const std::uint64_t place = stored_.v2.l1_table_offset.raw();
      if (declared > 0 && declared <= format::limits::max_l1_entries &&
          refcount(place >> refcounts_.cluster_bits) == 1) {
        if (const auto guess = judge_l1(place, declared, extended)) {
          l1_ = *guess;
          l1_.entries = declared;
          l1_stored_ = true;
          return;
        }
      }
    }
    for (const bool extended : {false, true}) {
      if (l1_.used != 0) return;
      any_cluster(refcounts_.cluster_bits, [&](std::uint64_t at) {
        if (refcount(at >> refcounts_.cluster_bits) != 1) return false;
        const auto guess = judge_l1(at, ~std::uint64_t{0}, extended);
        if (guess && guess->used != 0 && guess->copied >= l1_.copied &&
            (l1_.used == 0 || guess->copied > l1_.copied))
          l1_ = *guess;
        return false;
      });
    }
  }

  // Fills the header in with what was found, and says so.
  void adopt() {
    auto& h = image_.header;
    h.v2.magic = format::qcow_magic;
    if (h.v2.version != 2 && h.v2.version != 3) h.v2.version = 3;
    if (refcounts_.order != 4) h.v2.version = 3;
    h.v2.cluster_bits = refcounts_.cluster_bits;
    h.v2.refcount_table_offset = HostOffset{refcounts_.table};
    const std::uint64_t cluster = 1ULL << refcounts_.cluster_bits;
    std::uint64_t table_clusters = h.v2.refcount_table_clusters;
    if (table_clusters == 0 || table_clusters > format::limits::max_refcount_table / cluster ||
        !image_.inside(h.v2.refcount_table_offset, table_clusters * cluster))
      table_clusters = 1;
    h.v2.refcount_table_clusters = static_cast<std::uint32_t>(table_clusters);

    const bool v3_usable = h.v3.header_length >= format::header_v3_length && h.v3.header_length <= cluster &&
                           h.v3.header_length % 8 == 0 && h.v3.refcount_order == refcounts_.order;
    if (h.has_v3() && !v3_usable)
      h.v3 = {.incompatible_features = 0,
              .refcount_order = refcounts_.order,
              .header_length = format::header_v3_length};
    constexpr auto extended = format::incompatible_word["extended_l2"];
    if (h.has_v3() && l1_.used != 0)
      h.v3.incompatible_features = extended.set(h.v3.incompatible_features, l1_.extended ? 1 : 0);
    const bool is_extended = h.has_v3() && h.extended_l2();
    image_.geometry = Geometry::make(refcounts_.cluster_bits, refcounts_.order, is_extended);
    if (!image_.geometry) image_.geometry = Geometry::make(refcounts_.cluster_bits, refcounts_.order, false);

    h.v2.l1_table_offset = HostOffset{l1_.offset};
    h.v2.l1_size = static_cast<std::uint32_t>(l1_stored_ ? l1_.entries : l1_.used);
    const std::uint64_t reachable = h.v2.l1_size * image_.geometry->span();
    const bool size_fits =
        h.v2.size != 0 && h.v2.size <= format::limits::max_virtual_size && h.v2.size <= reachable;
    if (!size_fits) h.v2.size = reachable;
    if (!l1_stored_) {  // nothing else of such a header is worth believing
      h.v2.nb_snapshots = 0;
      h.v2.snapshots_offset = HostOffset{0};
      h.v2.backing_file_offset = HostOffset{0};
      h.v2.backing_file_size = 0;
      h.v2.crypt_method = 0;
      image_.doubt("without a header, snapshots, bitmaps and extensions can't be found");
    }
    image_.inferred = true;

    Finding f{"header/inferred"_rule};
    f.where = "header";
    f.host = {HostOffset{0}, std::min<std::uint64_t>(cluster, image_.eof)};
    f.detail = fmt::format(
        "clusters of {} and {}-bit refcounts: the refcount table at {:#x} counts itself, its block and the "
        "header once each, and {} "
        "clusters in all; ",
        base::human_size(cluster), 1U << refcounts_.order, refcounts_.table, refcounts_.counted);
    if (l1_.offset == 0)
      f.detail += "no L1 table was found";
    else
      f.detail +=
          fmt::format("the L1 table is at {:#x}, {}; the disk has {} {}", l1_.offset,
                      l1_stored_ ? "where the header says" : "found by its content",
                      size_fits ? "the size that the header says," : "at least", base::human_size(h.v2.size));
    if (h.v2.size != 0) f.guest.push_back({base::GuestOffset{0}, h.v2.size, ""});
    image_.report(std::move(f));
  }

  Image& image_;
  const format::Header stored_;
  RefcountGuess refcounts_;
  L1Guess l1_;
  bool l1_stored_ = false;
};

}  // namespace

namespace {

// An image that begins later in the file: the magic with a believable version and cluster size behind it.
void look_for_prefix(Image& image) {
  constexpr std::uint64_t searched = 1ULL << 20;
  const auto bytes = image.read(HostOffset{0}, searched, searched, "file");
  for (std::size_t at = format::limits::sector; at < bytes.size(); at += format::limits::sector) {
    const auto header = format::decode_header(base::ConstBytes(bytes).subspan(at));
    if (!header || header->v2.magic != format::qcow_magic ||
        (header->v2.version != 2 && header->v2.version != 3) ||
        header->v2.cluster_bits < format::limits::min_cluster_bits ||
        header->v2.cluster_bits > format::limits::max_cluster_bits)
      continue;
    image.report(Finding{"file/prefix"_rule}
                     .at("file")
                     .on(HostOffset{at}, image.eof - at)
                     .found(findings::Value::hex(at)));
    return;
  }
}

}  // namespace

bool infer_image(Image& image) {
  if (Inference(image).run()) return true;
  look_for_prefix(image);
  return false;
}

}  // namespace cowvet::analyzer
