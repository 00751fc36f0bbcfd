#include "analyzer/leaks.hpp"

#include <algorithm>

#include <fmt/format.h>

#include "format/snapshot.hpp"

namespace cowvet::analyzer {

using namespace findings::literals;
using base::HostOffset;
using findings::Finding;
using findings::Value;

namespace {

constexpr std::size_t most_targets = 4096;
constexpr std::size_t most_positions = 8;  // empty L1 entries that a finding names

}  // namespace

bool looks_like_snapshot(const format::Snapshot& s, const ScanRules& rules) {
  return s.entry.l1_table_offset.raw() != 0 && rules.geometry.aligned(s.entry.l1_table_offset) &&
         s.entry.l1_table_offset.raw() < rules.eof && s.entry.l1_size > 0 &&
         s.entry.l1_size <= format::limits::max_l1_entries && !s.id.empty() &&
         s.entry.date_nsec < 1000000000 &&
         (s.extra.empty() ||
          (s.extra.size() >= 16 && s.extra.size() <= format::limits::max_snapshot_extra)) &&
         std::ranges::all_of(s.id, [](char c) { return c > ' ' && c < 0x7f; });
}

ContentEvidence classify(base::ConstBytes cluster, const ScanRules& rules) {
  ContentEvidence evidence;
  if (base::all_zero(cluster)) {
    evidence.content = Content::empty;
    return evidence;
  }
  std::vector<EntryRun> runs;
  scan_l2(cluster, rules, 0, runs);
  constexpr std::uint32_t invalid =
      problem::implausible | problem::past_eof | problem::copied_alone | problem::alloc_without_offset;
  std::uint64_t bad = 0;
  bool names = false;
  for (const auto& run : runs) {
    if ((run.problems & invalid) != 0 || run.type == EntryType::none) {
      bad += run.count;
      continue;
    }
    evidence.entries += run.count;
    evidence.copied = evidence.copied || run.copied;
    if (!run.owns()) continue;
    names = true;
    for (std::uint32_t i = 0; i < run.count && evidence.targets.size() < most_targets; ++i)
      evidence.targets.push_back((run.host >> rules.geometry.cluster_bits()) + i);
  }
  // A lost table may have damaged entries too, but few: of other content hardly a word passes for an entry.
  if (names && bad * 8 <= evidence.entries) {
    evidence.content = Content::l2_table;
  } else {
    evidence.targets.clear();
    const auto step = format::parse_snapshot(cluster, 0);
    if (step.snapshot && looks_like_snapshot(*step.snapshot, rules)) evidence.content = Content::snapshot_table;
  }
  return evidence;
}

namespace {

class Examination {
 public:
  Examination(Image& image, const MappingWalk& walk, const LabelMap& labels, std::span<const Mismatch> leaks)
      : image_(image),
        walk_(walk),
        labels_(labels),
        g_(*image.geometry),
        leaks_(leaks),
        bytes_(static_cast<std::size_t>(g_.cluster_size())) {}

  // What the tables name is looked at in a second round, when all of them are known.
  void run() {
    for (const auto& leak : leaks_) {
      for (std::uint64_t c = leak.first; c < leak.first + leak.count && !image_.progress.stop_requested();
           ++c) {
        const auto extent = image_.device.extent(c << g_.cluster_bits());
        if (extent.hole) {  // nothing to see up to where the hole ends
          c = std::max(c, std::min(leak.first + leak.count, extent.end >> g_.cluster_bits()) - 1);
          continue;
        }
        const auto content = look_at(c).content;
        if (content == Content::l2_table) tables_.push_back(c);
        if (content == Content::snapshot_table) snapshot_tables_.push_back(c);
      }
    }
    for (const auto cluster : tables_) judge(cluster);
    for (const auto cluster : snapshot_tables_) {
      auto f = about(cluster);
      f.detail = "the content looks like a snapshot table";
      image_.report(std::move(f));
    }
  }

 private:
  ContentEvidence look_at(std::uint64_t cluster) {
    const auto read = image_.device.read(cluster << g_.cluster_bits(), bytes_);
    if (read.os_error != 0) return {};
    return classify(base::ConstBytes(bytes_).first(static_cast<std::size_t>(read.valid)), walk_.rules());
  }
  [[nodiscard]] Finding about(std::uint64_t cluster) const {
    Finding f{"refcount/leak-holds-table"_rule};
    f.where = fmt::format("cluster[{}]", cluster);
    f.host = {HostOffset{cluster << g_.cluster_bits()}, g_.cluster_size()};
    return f;
  }
  [[nodiscard]] bool is_leak(std::uint64_t cluster) const {
    auto it = std::ranges::upper_bound(leaks_, cluster, {}, &Mismatch::first);
    return it != leaks_.begin() && cluster < std::prev(it)->first + std::prev(it)->count;
  }

  // An orphan table is believed when most of what it names has lost its owner too, or still has the one that
  // a snapshot's or a compressed neighbour's copy of the table would name.
  void judge(std::uint64_t cluster) {
    const auto evidence = look_at(cluster);
    std::uint64_t lost = 0;       // of the clusters that it names: without an owner
    std::uint64_t tables = 0;     // L2 tables, lost or not
    std::uint64_t plausible = 0;  // something that a table may name
    for (const auto target : evidence.targets) {
      const auto kind = labels_.at(target).kind;
      const bool leak = is_leak(target);
      const bool table = kind == Kind::l2 || (leak && std::ranges::binary_search(tables_, target));
      lost += leak ? 1U : 0U;
      tables += table ? 1U : 0U;
      plausible += leak || table || kind == Kind::data || kind == Kind::compressed ? 1U : 0U;
    }
    const std::uint64_t named = evidence.targets.size();
    if (named == 0 || plausible * 2 < named) return;
    auto f = about(cluster);
    if (tables * 2 >= named) {
      f.detail = fmt::format("the content looks like an L1 table: {} entries, {} of them name L2 tables",
                             evidence.entries, tables);
    } else {
      // Without a single COPIED bit it may as well be the table of a bitmap, which has entries of the same shape.
      f.detail = fmt::format(
          "the content looks like {}: {} entries; of {} clusters they name, {} have no other owner",
          evidence.copied ? "an L2 table" : "an L2 table or a bitmap's table", evidence.entries, named, lost);
      place(f);
    }
    image_.report(std::move(f));
  }

  // Where a lost L2 table of the active layer may belong: at one of the L1 entries that lead nowhere.
  void place(Finding& f) {
    if (!image_.l1_usable) return;
    if (!positions_known_) find_positions();
    for (const auto index : positions_) {
      const base::GuestOffset begin{index * g_.span()};
      f.guest.push_back({begin, std::min(g_.span(), image_.header.v2.size - begin.raw()), ""});
    }
    if (more_positions_ != 0)
      f.detail += fmt::format("; it may belong to any of {} L1 entries that lead nowhere",
                              positions_.size() + more_positions_);
    else if (positions_.size() == 1)
      f.detail += fmt::format("; l1[{}] is the only L1 entry of the disk that leads nowhere", positions_[0]);
  }
  // An entry leads nowhere when no table can be read there, and when the cluster is something else as well.
  void find_positions() {
    positions_known_ = true;
    const auto& header = image_.header.v2;
    const std::uint64_t entries = std::min<std::uint64_t>(header.l1_size, g_.l1_entries(header.size));
    const auto l1 =
        image_.read(header.l1_table_offset, entries * 8, 8 * format::limits::max_l1_entries, "l1");
    const base::BigEndianTable<std::uint64_t> words(l1);
    for (std::size_t i = 0; i < words.size(); ++i) {
      const format::L1Entry entry{words[i]};
      if (walk_.leads_to_table(entry) &&
          labels_.at(g_.cluster_of(entry.offset()).raw()).kind != Kind::contested)
        continue;
      if (positions_.size() < most_positions)
        positions_.push_back(i);
      else
        ++more_positions_;
    }
  }

  Image& image_;
  const MappingWalk& walk_;
  const LabelMap& labels_;
  const format::Geometry g_;
  std::span<const Mismatch> leaks_;
  std::vector<std::byte> bytes_;                         // of one cluster
  std::vector<std::uint64_t> tables_, snapshot_tables_;  // clusters, ascending
  std::vector<std::uint64_t> positions_;
  std::uint64_t more_positions_ = 0;
  bool positions_known_ = false;
};

}  // namespace

void examine_leaks(Image& image, const MappingWalk& walk, const LabelMap& labels,
                   std::span<const Mismatch> leaks) {
  if (!leaks.empty()) Examination(image, walk, labels, leaks).run();
}

void examine_free(Image& image, const MappingWalk& walk, const LabelMap& labels,
                  std::span<const Mismatch> leaks) {
  const auto& g = *image.geometry;
  std::vector<std::byte> bytes(static_cast<std::size_t>(g.cluster_size()));
  std::uint64_t first = 0;  // the run of clusters with content that is being gathered
  std::uint64_t count = 0;
  std::uint64_t tables = 0;
  const auto flush = [&] {
    if (count == 0) return;
    Finding f{"file/unreferenced-content"_rule};
    f.where = fmt::format("cluster[{}]", first);
    f.host = {HostOffset{first << g.cluster_bits()},
              std::min(count << g.cluster_bits(), image.eof - (first << g.cluster_bits()))};
    f.count = count;
    f.detail = tables != 0 ? fmt::format("{} of {} clusters look like L2 or snapshot tables", tables, count)
                           : "no metadata is recognised";
    image.report(std::move(f));
    count = tables = 0;
  };
  auto leak = leaks.begin();
  labels.for_each_run(
      labels.window_begin(), labels.window_end(),
      [&](std::uint64_t begin, std::uint64_t length, Label label) {
        if (label.kind != Kind::free) return;
        for (std::uint64_t c = begin; c < begin + length && !image.progress.stop_requested();) {
          while (leak != leaks.end() && leak->first + leak->count <= c) ++leak;
          if (leak != leaks.end() && c >= leak->first) {
            c = leak->first + leak->count;
            continue;
          }
          const auto extent = image.device.extent(c << g.cluster_bits());
          const std::uint64_t hole_end = extent.end >> g.cluster_bits();
          if (extent.hole && hole_end > c) {
            c = hole_end;
            continue;
          }
          const auto read = image.device.read(c << g.cluster_bits(), bytes);
          const auto content =
              classify(base::ConstBytes(bytes).first(static_cast<std::size_t>(read.valid)), walk.rules())
                  .content;
          if (content == Content::empty || c != first + count) flush();
          if (content != Content::empty) {
            if (count == 0) first = c;
            ++count;
            tables += content == Content::other ? 0 : 1;
          }
          ++c;
        }
      });
  flush();
}

}  // namespace cowvet::analyzer
