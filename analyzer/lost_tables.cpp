// 1. Leaked snapshot tables are read: they name snapshots, and hold something when one of these has no other owner.
// 2. Each leaked cluster that may be a table is read whole; what it names is looked up in one more walk. An orphan is
// believed when most of what it names has lost its owner too, or still has the one that a snapshot's or a compressed
// neighbour's copy of the table would name.
// What the header notes as scrap, and what the refcounts know no reference of, or a table in use has as well,
// is a plain leak: a copy that was not used yet, or no longer.
// 3. Orphans that a lost snapshot's L1 table or another orphan names are told so; for the others a place is looked for.
// 4. Data without an owner that no orphan accounts for may have been below a table that has no entries now.
#include "analyzer/lost_tables.hpp"

#include <algorithm>
#include <map>
#include <set>
#include <unordered_map>

#include <fmt/format.h>

#include "analyzer/holdings.hpp"
#include "analyzer/lost_snapshots.hpp"
#include "analyzer/table_places.hpp"

namespace cowvet::analyzer {

using namespace findings::literals;
using base::HostOffset;
using findings::Finding;
using findings::Value;

namespace {

constexpr std::size_t most_orphans = 1U << 16;
constexpr std::size_t looked_up_at_once = 1U << 20;  // clusters
constexpr std::size_t most_snapshot_tables = 64;     // whose entries are read
constexpr std::size_t most_alike = 8;                // orphans with the same story that get a finding each
constexpr std::size_t most_ranges = 8;               // in a finding
constexpr std::uint64_t equals_budget =
    16ULL << 20;  // bytes of orphans that are looked for among the tables in use
constexpr std::uint64_t l1_budget = 64ULL << 20;  // bytes of lost snapshots' L1 tables

class Explanation {
 public:
  Explanation(Image& image, MappingWalk& walk, const MetadataMap& metadata, const Refcounts& refcounts,
              const LeakEvidence& evidence)
      : image_(image),
        walk_(walk),
        metadata_(metadata),
        refcounts_(refcounts),
        evidence_(evidence),
        survey_(evidence.survey),
        g_(*image.geometry),
        bytes_(static_cast<std::size_t>(g_.cluster_size())) {}

  base::Result<void> run() {
    read_snapshot_tables();
    if (auto done = find_lost_snapshots(); !done) return done;
    if (auto done = find_orphans(); !done) return done;
    if (auto done = forget_copies(); !done) return done;
    name_by_tables();
    TablePlaces places(image_, walk_, metadata_, evidence_.cut);
    if (auto done = places.place(orphans_); !done) return done;
    report_orphans();
    report_empty_tables();
    image_.orphans = std::move(orphans_);
    return {};
  }

 private:
  [[nodiscard]] bool leaked(const ClusterKinds& kinds, std::uint64_t cluster) {
    return kinds.of(cluster) == Kind::free && refcounts_.stored(cluster, piece_).value_or(0) != 0;
  }
  [[nodiscard]] bool may_be_table(std::uint64_t cluster) const {
    return std::ranges::binary_search(survey_.tables(), cluster);
  }

  void read_snapshot_tables() {
    for (const auto cluster : first_snapshot_tables())
      (void)read_unlisted(image_, HostOffset{cluster << g_.cluster_bits()});
  }
  [[nodiscard]] std::span<const std::uint64_t> first_snapshot_tables() const {
    const std::span tables(survey_.snapshot_tables());
    return tables.first(std::min(tables.size(), most_snapshot_tables));
  }
  // A table all of whose snapshots have owners, or are gone as they should, is what an operation left behind.
  void report_snapshot_tables() {
    std::size_t read = 0;
    for (const auto cluster : survey_.snapshot_tables()) {
      Listed listed{.lost = true};
      if (read++ < most_snapshot_tables)
        listed = list_entries(image_, HostOffset{cluster << g_.cluster_bits()});
      if (!listed.lost) continue;
      auto f = about(cluster, 1);
      f.detail = "the content looks like a snapshot table";
      if (listed.entries != 0)
        f.detail += fmt::format(" with {} {}", listed.entries, listed.entries == 1 ? "entry" : "entries");
      image_.report(std::move(f));
    }
  }

  // Of the snapshots that only a table outside the header's view names, those whose L1 tables are leaked.
  base::Result<void> find_lost_snapshots() {
    auto& unlisted = image_.unlisted;
    const auto l1 = [&](const UnlistedSnapshot& s) {
      return g_.cluster_of(s.data.entry.l1_table_offset).raw();
    };
    std::vector<std::uint64_t> clusters;
    clusters.reserve(unlisted.size());
    for (const auto& s : unlisted) clusters.push_back(l1(s));
    ClusterKinds kinds(walk_, metadata_, std::move(clusters));
    if (auto done = kinds.collect(); !done) return done;
    std::erase_if(unlisted,
                  [&](const auto& s) { return !leaked(kinds, l1(s)) || evidence_.scrap.has(l1(s)); });
    report_snapshot_tables();
    for (const auto& s : unlisted) report_lost(image_, s);
    if (!unlisted.empty()) image_.doubt("a snapshot was lost");
    return {};
  }

  base::Result<void> find_orphans() {
    const auto& tables = survey_.tables();
    for (std::size_t next = 0; next < tables.size() && orphans_.size() < most_orphans;) {
      std::vector<std::pair<std::uint64_t, ContentEvidence>> read;
      std::vector<std::uint64_t> clusters;
      for (; next < tables.size() && clusters.size() < looked_up_at_once; ++next) {
        auto evidence = look_at(tables[next]);
        if (evidence.content != Content::l2_table) {
          ++other_data_;
          continue;
        }
        for (const auto& named : evidence.named) clusters.push_back(named.cluster);
        read.emplace_back(tables[next], std::move(evidence));
      }
      ClusterKinds kinds(walk_, metadata_, std::move(clusters));
      if (auto done = kinds.collect(); !done) return done;
      for (const auto& [cluster, evidence] : read) judge(cluster, evidence, kinds);
    }
    return {};
  }
  ContentEvidence look_at(std::uint64_t cluster) {
    const auto read = image_.device.read(cluster << g_.cluster_bits(), bytes_);
    if (read.os_error != 0) return {};
    return classify(base::ConstBytes(bytes_).first(static_cast<std::size_t>(read.valid)), walk_.rules());
  }

  // Orphans that hold nothing: what they name is accounted for, they are no lost tables.
  base::Result<void> forget_copies() {
    // Layers that use the same L1 table are counted as two: perhaps the orphan is the table that one of them had. And
    // an external data file has no counts.
    std::set<std::uint64_t> places;
    const bool told = !walk_.rules().external_data && std::ranges::all_of(walk_.trees(), [&](const Tree& t) {
      return t.refs() == 1 && places.insert(t.l1.raw()).second;
    });
    std::vector<std::uint64_t> asked;
    for (const auto& orphan : orphans_)
      if (orphan.lost == 0 && told) asked.push_back(orphan.cluster);
    const auto holdings = holdings_of(image_, walk_, metadata_, refcounts_, asked);
    if (!holdings) return std::unexpected(holdings.error());
    std::vector<std::uint64_t> idle;
    for (std::size_t i = 0; i < asked.size(); ++i)
      if ((*holdings)[i].uncounted()) idle.push_back(asked[i]);
    std::erase_if(orphans_, [&](const Orphan& orphan) {
      return evidence_.scrap.has(orphan.cluster) || std::ranges::binary_search(idle, orphan.cluster);
    });
    return forget_equals();
  }
  // What a table in use has as well.
  base::Result<void> forget_equals() {
    std::set<std::uint64_t> seen;
    std::multimap<std::vector<std::byte>, std::uint64_t> contents;
    std::uint64_t budget = equals_budget;
    for (const auto& orphan : orphans_) {
      if (orphan.lost != 0 || orphan.is_l1 || budget < g_.cluster_size()) continue;
      budget -= g_.cluster_size();
      if (auto table = unflagged_table(image_, orphan.cluster))
        contents.emplace(std::move(*table), orphan.cluster);
    }
    if (contents.empty()) return {};
    std::vector<std::uint64_t> equal;
    auto done = walk_.visit_l1([&](std::uint64_t, std::span<const format::L1Entry> entries) {
      for (const auto entry : entries) {
        if (!walk_.leads_to_table(entry) || !seen.insert(entry.offset().raw()).second) continue;
        const auto table = unflagged_table(image_, g_.cluster_of(entry.offset()).raw());
        if (!table) continue;
        const auto [from, to] = contents.equal_range(*table);
        for (auto it = from; it != to; ++it) equal.push_back(it->second);
      }
    });
    if (!done) return done;
    std::erase_if(orphans_, [&](const Orphan& orphan) {
      return std::ranges::find(equal, orphan.cluster) != equal.end();
    });
    return {};
  }

  void judge(std::uint64_t cluster, const ContentEvidence& evidence, const ClusterKinds& kinds) {
    Orphan orphan{.cluster = cluster,
                  .entries = evidence.entries,
                  .named = evidence.named.size(),
                  .last = evidence.named.empty() ? 0 : evidence.named.back().entry,
                  .copied = evidence.copied};
    if (walk_.rules().external_data && names_its_place(evidence, orphan)) return keep(std::move(orphan));
    std::uint64_t plausible = 0;  // something that a table may name
    for (const auto& named : evidence.named) {
      const auto kind = kinds.of(named.cluster);
      const bool leak = leaked(kinds, named.cluster);
      const bool table = kind == Kind::l2 || (leak && may_be_table(named.cluster));
      orphan.lost += leak ? 1U : 0U;
      orphan.tables += table ? 1U : 0U;
      plausible += leak || table || kind == Kind::data || kind == Kind::compressed ? 1U : 0U;
    }
    if (orphan.named == 0 || plausible * 2 < orphan.named) {
      ++other_data_;
      return;
    }
    orphan.is_l1 = orphan.tables * 2 >= orphan.named;
    const std::size_t step = std::max<std::size_t>(evidence.named.size() / orphan.sample.size(), 1);
    for (std::size_t i = 0; i < orphan.sample.size() && i * step < evidence.named.size(); ++i)
      orphan.sample[i] = evidence.named[i * step];
    if (orphan.is_l1)
      for (const auto& named : evidence.named)
        if (may_be_table(named.cluster)) by_orphan_l1_.try_emplace(named.cluster, cluster, named.entry);
    keep(std::move(orphan));
  }
  // In an external data file each cluster lies where the guest has it: its entries tell what a table is of.
  bool names_its_place(const ContentEvidence& evidence, Orphan& orphan) const {
    if (evidence.named.empty()) return false;
    std::unordered_map<std::uint64_t, std::uint64_t> votes;  // by the index of the table
    for (const auto& named : evidence.named)
      if (named.cluster % g_.l2_entries() == named.entry) ++votes[named.cluster / g_.l2_entries()];
    const auto best = std::ranges::max_element(votes, {}, [](const auto& vote) { return vote.second; });
    constexpr std::uint64_t tolerance = 8;  // one entry in so many may be damaged
    if (best == votes.end() || best->second < evidence.named.size() - evidence.named.size() / tolerance ||
        best->first >= g_.l1_entries(image_.header.v2.size))
      return false;
    const std::uint64_t begin = best->first * g_.span();
    orphan.lost = orphan.named;
    orphan.guest = {{base::GuestOffset{begin}, std::min(g_.span(), image_.header.v2.size - begin), ""}};
    orphan.where_from = fmt::format("its entries name the places of l1[{}] in the data file", best->first);
    orphan.placed = true;
    return true;
  }
  void keep(Orphan orphan) {
    if (!orphan.is_l1) accounted_ += orphan.lost;
    if (orphans_.size() < most_orphans)
      orphans_.push_back(std::move(orphan));
    else
      image_.doubt("there are more lost tables than are looked at");
  }

  // What lost snapshots' L1 tables and orphan L1 tables say of the orphans.
  void name_by_tables() {
    struct Place {
      const UnlistedSnapshot* snapshot;
      std::uint64_t index;
    };
    std::unordered_map<std::uint64_t, Place> by_snapshot;
    std::unordered_map<std::uint64_t, const UnlistedSnapshot*> l1_tables;  // by cluster
    std::uint64_t budget = l1_budget;
    for (const auto& s : image_.unlisted) {
      const auto& entry = s.data.entry;
      const std::uint64_t length = std::uint64_t{entry.l1_size} * 8;
      if (length > budget) break;
      budget -= length;
      const std::uint64_t first = g_.cluster_of(entry.l1_table_offset).raw();
      for (std::uint64_t i = 0; i < base::divide_up(length, g_.cluster_size()); ++i)
        l1_tables.try_emplace(first + i, &s);
      const auto l1 = image_.read(entry.l1_table_offset, length, length, "l1");
      const base::BigEndianTable<std::uint64_t> words(l1);
      for (std::size_t i = 0; i < words.size(); ++i)
        if (const format::L1Entry e{words[i]}; may_be_table(g_.cluster_of(e.offset()).raw()))
          by_snapshot.try_emplace(g_.cluster_of(e.offset()).raw(), &s, i);
    }
    for (auto& orphan : orphans_) {
      if (orphan.placed) continue;
      if (const auto l1 = l1_tables.find(orphan.cluster); l1 != l1_tables.end()) {
        orphan.where_from = fmt::format("it is the L1 table of {}", lost_name(l1->second->data));
        orphan.is_l1 = orphan.placed = true;
      } else if (const auto table = by_snapshot.find(orphan.cluster); table != by_snapshot.end()) {
        const auto& [snapshot, index] = table->second;
        orphan.where_from = fmt::format("it belongs to l1[{}] of {}", index, lost_name(snapshot->data));
        orphan.guest = {{base::GuestOffset{index * g_.span()}, g_.span(), snapshot->data.id}};
        const auto disk = snapshot->data.disk_size_bytes().value_or(image_.header.v2.size);
        if (const auto begin = index * g_.span(); begin < disk)
          orphan.guest.front().length = std::min(g_.span(), disk - begin);
        orphan.placed = true;
      } else if (const auto by = by_orphan_l1_.find(orphan.cluster); by != by_orphan_l1_.end()) {
        orphan.where_from = fmt::format("the lost L1 table in cluster[{}] names it, in entry {}",
                                        by->second.first, by->second.second);
        orphan.placed = true;
      } else if (orphan.is_l1) {
        orphan.placed = true;
      }
    }
  }

  [[nodiscard]] Finding about(std::uint64_t cluster, std::uint64_t count) const {
    Finding f{"refcount/leak-holds-table"_rule};
    f.where = fmt::format("cluster[{}]", cluster);
    f.host = {HostOffset{cluster << g_.cluster_bits()}, g_.cluster_size()};
    f.count = count;
    return f;
  }

  void report_orphans() {
    // Orphans with the same story get one finding when there are many of them.
    for (std::size_t i = 0; i < orphans_.size();) {
      std::size_t end = i + 1;
      while (end < orphans_.size() && !orphans_[i].where_from.empty() && !orphans_[i].is_l1 &&
             orphans_[end].where_from == orphans_[i].where_from)
        ++end;
      if (end - i > most_alike) {
        report(orphans_[i], end - i, orphans_[end - 1].cluster);
        i = end;
      } else {
        for (; i < end; ++i) report(orphans_[i], 1, orphans_[i].cluster);
      }
    }
  }
  void report(const Orphan& orphan, std::uint64_t count, std::uint64_t last) {
    auto f = about(orphan.cluster, count);
    if (orphan.is_l1) {
      f.detail = fmt::format("the content looks like an L1 table: {} entries, {} of them name L2 tables",
                             orphan.entries, orphan.tables);
    } else {
      // Without a single COPIED bit it may as well be the table of a bitmap, which has entries of the same shape.
      f.detail = fmt::format(
          "the content looks like {}: {} entries; of {} clusters they name, {} have no other owner",
          orphan.copied || orphan.placed ? "an L2 table" : "an L2 table or a bitmap's table", orphan.entries,
          orphan.named, orphan.lost);
    }
    if (count > 1) f.detail += fmt::format("; {} tables like it follow, up to cluster[{}]", count - 1, last);
    if (!orphan.where_from.empty()) f.detail += "; " + orphan.where_from;
    f.guest = orphan.guest;
    image_.report(std::move(f));
  }

  void report_empty_tables() {
    const std::uint64_t data = survey_.data() + other_data_;
    const auto& empty = evidence_.empty_tables;
    if (data <= accounted_ || empty.empty() || walk_.rules().external_data) return;
    const Naming naming(image_, walk_.trees());
    const bool few = empty.size() <= most_ranges;
    for (std::size_t i = 0; i < (few ? empty.size() : 1); ++i) {
      Finding f{"l2/table-zeroed"_rule};
      Group group{.l1_index = empty[i].l1_index};
      const TableUse use{.table = HostOffset{empty[i].table}, .trees = empty[i].trees};
      f.where = naming.l2_table(group, use);
      f.host = {HostOffset{empty[i].table}, g_.cluster_size()};
      f.snapshot = naming.layer(walk_.trees()[use.trees.front()]);
      f.detail = fmt::format("{} leaked clusters hold data that no lost table names", data - accounted_);
      if (empty.size() > 1) f.detail += fmt::format("; {} tables have no entries", empty.size());
      const auto put = [&](const EmptyTable& table) {
        naming.put_guest(f, {.table = HostOffset{table.table}, .trees = table.trees},
                         base::GuestOffset{table.l1_index * g_.span()}, g_.span());
      };
      if (few)
        put(empty[i]);
      else
        for (std::size_t n = 0; n < most_ranges; ++n) put(empty[n]);
      image_.report(std::move(f));
    }
    image_.doubt("data without an owner may belong to a table that has no entries");
  }

  Image& image_;
  MappingWalk& walk_;
  const MetadataMap& metadata_;
  const Refcounts& refcounts_;
  const LeakEvidence& evidence_;
  const LeakSurvey& survey_;
  const format::Geometry g_;
  std::vector<std::byte> bytes_;  // of one cluster
  Refcounts::Piece piece_;        // of the refcounts that were asked for last
  std::vector<Orphan> orphans_;   // in order of their clusters
  // Which orphan L1 table names a cluster, and in which entry.
  std::unordered_map<std::uint64_t, std::pair<std::uint64_t, std::uint32_t>> by_orphan_l1_;
  std::uint64_t other_data_ = 0;  // clusters that only began like a table
  std::uint64_t accounted_ = 0;   // lost clusters that orphans name
};

}  // namespace

base::Result<void> explain_leaks(Image& image, MappingWalk& walk, const MetadataMap& metadata,
                                 const Refcounts& refcounts, const LeakEvidence& evidence) {
  const auto& survey = evidence.survey;
  if (survey.tables().empty() && survey.snapshot_tables().empty() && survey.data() == 0 &&
      image.unlisted.empty())
    return {};
  return Explanation(image, walk, metadata, refcounts, evidence).run();
}

}  // namespace cowvet::analyzer
