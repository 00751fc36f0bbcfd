// 1. Places are proposed for the refcount table: where the damaged header says it is, and the head of every
// cluster, for
//    every cluster size and refcount width; those stay where header, table and block are counted exactly once, all of
//    them or but one.
// 2. For each of the best, and for no table at all, the L1 table is looked for: where the header says, or wherever a
//    cluster's entries lead to L2 tables. The active one is that whose COPIED flags agree best with the refcounts; tables
//    that a snapshot table names are a snapshot's.
// 3. The guess with which the most pointers agree is taken. A few bad entries, a lost end of the file or a
// lost refcount
//    table weaken it and don't refute it.
// 4. Of the stored header everything else is kept when enough of it agrees with that, and otherwise nothing.
#include "analyzer/infer.hpp"

#include <algorithm>
#include <array>
#include <tuple>

#include <fmt/format.h>

#include "analyzer/content.hpp"
#include "analyzer/header_remains.hpp"
#include "analyzer/infer_l1.hpp"
#include "base/text.hpp"
#include "format/snapshot.hpp"

namespace cowvet::analyzer {

using namespace findings::literals;
using base::HostOffset;
using findings::Finding;
using format::Geometry;
namespace limits = format::limits;

namespace {

constexpr std::uint64_t most_clusters_tried =
    1U << 16;                                 // heads of clusters that are looked at, holes not counted
constexpr std::size_t most_tables_tried = 6;  // refcount tables for which an L1 table is looked for
constexpr std::uint64_t most_snapshot_bytes = 1ULL << 20;

struct RefcountGuess {
  std::uint32_t cluster_bits = 0, order = 0;
  std::uint64_t table = 0;    // 0: none was found
  std::uint64_t counted = 0;  // clusters of the file with a refcount, in the first block
  unsigned once = 0;          // of header, table and block: how many are counted exactly once
  [[nodiscard]] auto rank() const {
    return std::tuple(once, counted << cluster_bits, cluster_bits, order, ~table);
  }
};

struct SnapshotGuess {
  std::uint64_t table = 0;
  std::vector<std::uint64_t> l1_tables{};
  std::uint64_t disk_size = 0;  // of the last one; 0: it is not recorded
};

// All that is guessed of an image.
struct Guess {
  RefcountGuess refcounts;
  SnapshotGuess snapshots;
  L1Guess l1;
  bool l1_stored = false;  // the L1 table lies where the header says
  [[nodiscard]] bool found_l1() const { return l1.offset != 0; }
  [[nodiscard]] std::int64_t score() const { return found_l1() ? l1.agreement.score() : 0; }
  // Nothing at all speaks against it.
  [[nodiscard]] bool perfect() const {
    return refcounts.once == 3 && l1.recognised && l1.agreement.opposed == 0;
  }
};

class Inference {
 public:
  explicit Inference(Image& image) : image_(image), stored_(image.header) {}

  bool run() {
    bool any = false;
    for (const auto& refcounts : find_refcounts()) {
      const auto guess = judge(refcounts);
      if (!any || guess.score() > guess_.score()) guess_ = guess;
      any = true;
      if (guess_.perfect()) break;
    }
    if (!guess_.l1.recognised) any = run_without_refcounts() || any;
    if (any) adopt();
    return any;
  }

 private:
  [[nodiscard]] std::optional<std::uint64_t> word(std::uint64_t offset) const {
    const auto b = bytes_of(image_, offset, 8);
    const auto eight = base::prefix<8>(b);
    if (!eight) return std::nullopt;
    return base::load_be<std::uint64_t, 0>(*eight);
  }

  // Calls use(offset) for the clusters' starts that hold data.
  template <class Use>
  void each_cluster(std::uint32_t cluster_bits, Use&& use) const {
    std::uint64_t tried = 0;
    for (std::uint64_t at = 1ULL << cluster_bits; at < image_.eof && tried < most_clusters_tried;) {
      if (image_.progress.stop_requested()) return;
      const auto extent = image_.device.extent(at);
      if (extent.hole) {
        const auto next = base::round_up(std::max(extent.end, at + 1), 1ULL << cluster_bits);
        if (!next) return;
        at = *next;
        continue;
      }
      for (; at < extent.end && tried < most_clusters_tried; at += 1ULL << cluster_bits, ++tried) use(at);
    }
  }

  // The refcount tables that count themselves, the best first.
  [[nodiscard]] std::vector<RefcountGuess> find_refcounts() const {
    std::vector<RefcountGuess> found;
    const auto consider = [&](std::uint32_t bits, std::uint64_t table) {
      const auto entry = word(table);
      if (table == 0 || !entry || *entry == 0 || *entry % (1ULL << bits) != 0 || *entry >= image_.eof) return;
      for (std::uint32_t order = 0; order <= limits::max_refcount_order; ++order) {
        StoredRefcounts refcounts(image_.device, *Geometry::make(bits, order, false), HostOffset{table});
        const unsigned once = refcounts.self_evidence();
        if (once < 2) continue;
        const RefcountGuess guess{bits, order, table, refcounts.counted(), once};
        const bool known = std::ranges::any_of(found, [&](const RefcountGuess& other) {
          return std::tuple(other.cluster_bits, other.order, other.table) == std::tuple(bits, order, table);
        });
        if (!known) found.push_back(guess);
      }
    };
    for (std::uint32_t bits = limits::max_cluster_bits; bits >= limits::min_cluster_bits; --bits) {
      consider(bits, stored_.v2.refcount_table_offset.raw());
      each_cluster(bits, [&](std::uint64_t at) { consider(bits, at); });
    }
    std::ranges::sort(found, std::greater{}, &RefcountGuess::rank);
    found.resize(std::min(found.size(), most_tables_tried));
    return found;
  }

  // How entries may be read: with subclusters or without, and as leading into another file where the header says so.
  struct Reading {
    bool extended = false, external = false;
  };
  [[nodiscard]] std::vector<Reading> readings() const {
    std::vector<Reading> all;
    for (const bool extended : {stored_.extended_l2(), !stored_.extended_l2()}) {
      all.push_back({extended, false});
      if (stored_.external_data_file()) all.push_back({extended, true});
    }
    return all;
  }

  // The guess with the best L1 table for these refcounts, if there is one.
  [[nodiscard]] Guess judge(const RefcountGuess& refcounts) const {
    Guess best{.refcounts = refcounts, .snapshots = {}, .l1 = {}};
    for (const auto [extended, external] : readings()) {
      const auto geometry = Geometry::make(refcounts.cluster_bits, refcounts.order, extended);
      if (!geometry) continue;
      StoredRefcounts counts(image_.device, *geometry, HostOffset{refcounts.table});
      L1Evidence evidence(image_, *geometry, refcounts.table == 0 ? nullptr : &counts, refcounts.table,
                          external);
      best.snapshots = find_snapshots(*geometry, evidence);
      if (const auto l1 = stored_l1(evidence)) {
        if (!best.l1_stored || l1->agreement.score() > best.score()) {
          best.l1 = *l1;
          best.l1_stored = true;
        }
        continue;
      }
      if (best.l1_stored) continue;
      each_cluster(refcounts.cluster_bits, [&](std::uint64_t at) {
        const auto l1 = evidence.judge(at, limits::max_l1_entries);
        if (l1 && (!best.found_l1() || l1->agreement.score() > best.score())) best.l1 = *l1;
      });
    }
    return best;
  }

  [[nodiscard]] std::optional<L1Guess> stored_l1(L1Evidence& evidence) const {
    const std::uint64_t declared = stored_.v2.l1_size;
    if (declared == 0 || declared > limits::max_l1_entries) return std::nullopt;
    auto l1 = evidence.judge(stored_.v2.l1_table_offset.raw(), declared);
    if (l1) l1->entries = declared;
    return l1;
  }

  // The snapshot table with the most entries, whose L1 tables are then reserved.
  [[nodiscard]] SnapshotGuess find_snapshots(const Geometry& geometry, L1Evidence& evidence) const {
    const ScanRules rules{.geometry = geometry, .eof = image_.eof};
    SnapshotGuess best;
    each_cluster(geometry.cluster_bits(), [&](std::uint64_t at) {
      constexpr std::uint64_t fixed = format::disk_size<format::SnapshotEntry>;
      const auto first = bytes_of(image_, at, fixed);
      const auto start = base::prefix<fixed>(first);
      if (!start || base::all_zero(*start) || evidence.reserved(at) || !evidence.exclusive(at)) return;
      const auto entry = format::decode<format::SnapshotEntry>(*start);
      if (entry.l1_size == 0 || entry.l1_table_offset.raw() >= image_.eof ||
          entry.extra_data_size > limits::max_snapshot_extra)
        return;
      const auto bytes = bytes_of(image_, at, most_snapshot_bytes);
      SnapshotGuess guess{.table = at};
      for (std::size_t position = 0; position < bytes.size();) {
        const auto step = format::parse_snapshot(base::ConstBytes(bytes).subspan(position), position);
        if (!step.snapshot || !looks_like_snapshot(*step.snapshot, rules) ||
            !base::plain_text(step.snapshot->name))
          break;
        guess.l1_tables.push_back(step.snapshot->entry.l1_table_offset.raw());
        guess.disk_size = step.snapshot->disk_size_bytes().value_or(0);
        position += static_cast<std::size_t>((step.snapshot->length() + 7) & ~std::uint64_t{7});
      }
      if (guess.l1_tables.size() > best.l1_tables.size()) best = std::move(guess);
    });
    for (const auto offset : best.l1_tables) evidence.reserve(offset);
    if (best.table != 0) evidence.reserve(best.table);
    return best;
  }

  // With nothing that counts, tables must speak for themselves more clearly: a pointer of each level with its flag.
  bool run_without_refcounts() {
    bool any = false;
    for (std::uint32_t bits = limits::max_cluster_bits; bits >= limits::min_cluster_bits; --bits) {
      const auto guess = judge({.cluster_bits = bits, .order = 4});
      if (!guess.l1.recognised || guess.l1.agreement.copied < 2 || guess.score() <= guess_.score()) continue;
      guess_ = guess;
      any = true;
    }
    return any;
  }

  // Whether the rest of the stored header is worth believing: most of what can be compared is as it was found.
  [[nodiscard]] bool header_believable() const {
    const auto& v2 = stored_.v2;
    const std::array agrees{
        v2.magic == format::qcow_magic, v2.version == 2 || v2.version == 3,
        v2.cluster_bits == guess_.refcounts.cluster_bits,
        v2.refcount_table_offset.raw() != 0 && v2.refcount_table_offset.raw() == guess_.refcounts.table,
        guess_.l1_stored};
    return std::ranges::count(agrees, true) >= 3;
  }

  // Fills the header in with what was found, and says so.
  void adopt() {
    auto& h = image_.header;
    const auto& refcounts = guess_.refcounts;
    const std::uint64_t cluster = 1ULL << refcounts.cluster_bits;
    const bool believed = header_believable();
    if (!believed) {
      h = {};
      image_.header_lost = true;
      image_.cluster0 = bytes_of(image_, 0, cluster);
      image_.cluster0.resize(static_cast<std::size_t>(cluster));
      remains_ = find_header_remains(image_.cluster0);
      if (!remains_) {
        image_.cluster0.assign(static_cast<std::size_t>(cluster), std::byte{0});
        image_.doubt("without a header, bitmaps and extensions can't be found");
      } else if (refcounts.order == 4) {
        h.v2.version = remains_->version;
      }
    }
    h.v2.magic = format::qcow_magic;
    const auto usable = [&](const format::HeaderV3& v3) {
      return v3.header_length >= format::header_v3_length && v3.header_length <= cluster &&
             v3.header_length % 8 == 0 && v3.refcount_order == refcounts.order;
    };
    if (h.v2.version != 2 && h.v2.version != 3) {
      // Version 2 has its extensions where version 3 has its fields.
      auto bytes = bytes_of(image_, 0, cluster);
      const auto left = find_header_remains(bytes);
      format::HeaderV2 as_v3 = h.v2;
      as_v3.version = 3;
      const auto encoded = format::encode(as_v3);
      if (bytes.size() >= encoded.size()) std::ranges::copy(encoded, bytes.begin());
      const auto read = believed ? format::decode_header(bytes) : std::nullopt;
      if (read && usable(read->v3))
        h = *read;
      else
        h.v2.version = left ? left->version : 3;
    }
    const bool v3_usable = usable(h.v3);
    if (refcounts.order != 4) h.v2.version = 3;
    h.v2.cluster_bits = refcounts.cluster_bits;
    h.v2.refcount_table_offset = HostOffset{refcounts.table};
    std::uint64_t table_clusters = h.v2.refcount_table_clusters;
    if (table_clusters == 0 || table_clusters > limits::max_refcount_table / cluster ||
        !image_.inside(h.v2.refcount_table_offset, table_clusters * cluster))
      table_clusters = 1;
    h.v2.refcount_table_clusters = static_cast<std::uint32_t>(table_clusters);

    if (h.has_v3() && !v3_usable)
      h.v3 = {.incompatible_features = 0,
              .refcount_order = refcounts.order,
              .header_length = format::header_v3_length};
    if (remains_) adopt_remains(h);
    constexpr auto extended = format::incompatible_word["extended_l2"];
    if (h.has_v3() && guess_.l1.recognised)
      h.v3.incompatible_features = extended.set(h.v3.incompatible_features, guess_.l1.extended ? 1 : 0);
    const bool is_extended = h.has_v3() && h.extended_l2();
    image_.geometry = Geometry::make(refcounts.cluster_bits, refcounts.order, is_extended);
    if (!image_.geometry) image_.geometry = Geometry::make(refcounts.cluster_bits, refcounts.order, false);

    h.v2.l1_table_offset = HostOffset{guess_.l1.offset};
    h.v2.l1_size = static_cast<std::uint32_t>(guess_.l1.entries);
    const std::uint64_t reachable = h.v2.l1_size * image_.geometry->span();
    const bool size_fits = h.v2.size != 0 && h.v2.size <= limits::max_virtual_size && h.v2.size <= reachable;
    if (!size_fits) h.v2.size = reachable;
    if (!believed) {
      take_size_of_snapshot(h.v2);
      h.v2.snapshots_offset = HostOffset{guess_.snapshots.table};
      h.v2.nb_snapshots = static_cast<std::uint32_t>(guess_.snapshots.l1_tables.size());
    }
    image_.inferred = true;

    Finding f{"header/inferred"_rule};
    f.where = "header";
    f.host = {HostOffset{0}, std::min<std::uint64_t>(cluster, image_.eof)};
    f.detail = told(believed, size_fits);
    if (h.v2.size != 0) f.guest.push_back({base::GuestOffset{0}, h.v2.size, ""});
    image_.report(std::move(f));
  }

  // The header as what is left behind it needs it to be.
  void adopt_remains(format::Header& h) const {
    const auto& left = *remains_;
    if (h.has_v3()) h.v3.header_length = static_cast<std::uint32_t>(left.begin);
    if (left.name != 0) {
      h.v2.backing_file_offset = HostOffset{left.end};
      h.v2.backing_file_size = static_cast<std::uint32_t>(left.name);
    }
    if (left.encryption) h.v2.crypt_method = static_cast<std::uint32_t>(format::CryptMethod::luks);
    if (left.data_file && h.has_v3())
      h.v3.incompatible_features |= format::incompatible_word["external_data_file"].mask();
    if (left.bitmaps && h.has_v3()) h.v3.autoclear_features |= format::autoclear_word["bitmaps"].mask();
  }

  // Where nothing else says how large the disk is, a snapshot may: it was as large when the snapshot was taken.
  void take_size_of_snapshot(format::HeaderV2& v2) {
    const std::uint64_t size = guess_.snapshots.disk_size;
    if (!guess_.found_l1() || size > limits::max_virtual_size || size <= v2.size - image_.geometry->span())
      return;
    const std::uint64_t entries = image_.geometry->l1_entries(size);
    if (entries > limits::max_l1_entries || !image_.inside(v2.l1_table_offset, entries * 8)) return;
    v2.size = size;
    v2.l1_size = static_cast<std::uint32_t>(entries);
  }

  // What was found, and how sure that is.
  [[nodiscard]] std::string told(bool believed, bool size_fits) const {
    const auto& refcounts = guess_.refcounts;
    const auto& l1 = guess_.l1;
    auto text = fmt::format("clusters of {}; ", base::human_size(1ULL << refcounts.cluster_bits));
    if (refcounts.table == 0)
      text += "no refcount table was found";
    else
      text += fmt::format(
          "the refcount table is at {:#x}, with {}-bit refcounts: {} of header, table and block are "
          "counted exactly once, and {} clusters in all",
          refcounts.table, 1U << refcounts.order, refcounts.once == 3 ? "all" : "two", refcounts.counted);
    if (!guess_.found_l1()) {
      text += "; no L1 table was found";
    } else {
      text += fmt::format("; the L1 table is at {:#x}, {}; the disk has {} {}", l1.offset,
                          guess_.l1_stored ? "where the header says" : "found by its content",
                          size_fits ? "the size that the header says," : "at least",
                          base::human_size(image_.header.v2.size));
      if (const auto all = l1.agreement.agreeing() + l1.agreement.opposed; all != 0)
        text +=
            fmt::format("; {} of {} entries that were looked at make sense", l1.agreement.agreeing(), all);
    }
    if (!believed && guess_.snapshots.table != 0)
      text += fmt::format("; a table of {} snapshots is at {:#x}", guess_.snapshots.l1_tables.size(),
                          guess_.snapshots.table);
    text += believed ? "; the rest of the header is believed" : "; nothing of the header is believed";
    if (remains_)
      text += remains_->name != 0 ? ", but the extensions and the backing file's name behind it are"
                                  : ", but the extensions behind it are";
    return text;
  }

  Image& image_;
  const format::Header stored_;
  Guess guess_;
  std::optional<HeaderRemains> remains_;  // behind a header that was lost
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
