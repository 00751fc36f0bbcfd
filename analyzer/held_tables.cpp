#include "analyzer/held_tables.hpp"

#include <algorithm>
#include <map>

#include <fmt/format.h>

#include "analyzer/holdings.hpp"
#include "analyzer/naming.hpp"

namespace cowvet::analyzer {

using namespace findings::literals;
using findings::Finding;
using findings::Value;
using format::L1Entry;

namespace {

constexpr std::size_t most_layers = 8;  // in a finding
constexpr std::size_t most_lost = 1U << 16;

class HeldTables {
 public:
  HeldTables(Image& image, MappingWalk& walk, const MetadataMap& metadata, Refcounts& refcounts,
             std::span<const Mismatch> held, const Scrap& scrap)
      : image_(image),
        walk_(walk),
        metadata_(metadata),
        refcounts_(refcounts),
        held_(held),
        scrap_(scrap),
        g_(*image.geometry),
        naming_(image, walk.trees()) {}

  base::Result<void> run() {
    auto done =
        walk_.visit_l1([&](std::uint64_t index, std::span<const L1Entry> entries) { look(index, entries); });
    if (!done) return done;
    if (done = keep_counted(); !done) return done;
    for (auto& [cluster, lost] : lost_) image_.report(std::move(lost.finding));
    if (!lost_.empty()) image_.doubt("an L1 entry was lost, so clusters have an owner that is not counted");
    for (const auto& mismatch : held_) report_others(mismatch);
    return {};
  }

 private:
  [[nodiscard]] const Mismatch* held(std::uint64_t cluster) const {
    const auto behind = std::ranges::upper_bound(held_, cluster, {}, &Mismatch::first);
    if (behind == held_.begin()) return nullptr;
    const auto& m = *std::prev(behind);
    return cluster - m.first < m.count ? &m : nullptr;
  }

  void look(std::uint64_t index, std::span<const L1Entry> entries) {
    for (std::uint32_t t = 0; t < entries.size(); ++t) {
      if (!walk_.leads_to_table(entries[t])) continue;
      const std::uint64_t cluster = g_.cluster_of(entries[t].offset()).raw();
      const auto* mismatch = held(cluster);
      if (mismatch != nullptr && lost_.size() < most_lost && !lost_.contains(cluster) &&
          !scrap_.names(cluster) && !copied_at(cluster, entries))
        judge(cluster, *mismatch, index, t, entries);
    }
  }

  // Whether another layer has a copy of the table at the same index.
  [[nodiscard]] bool copied_at(std::uint64_t cluster, std::span<const L1Entry> entries) const {
    std::optional<std::vector<std::byte>> table;
    std::vector<std::uint64_t> seen{cluster};
    for (const auto entry : entries) {
      const std::uint64_t other = g_.cluster_of(entry.offset()).raw();
      if (!walk_.leads_to_table(entry) || std::ranges::find(seen, other) != seen.end()) continue;
      seen.push_back(other);
      if (!table) table = unflagged_table(image_, cluster);
      if (table && table == unflagged_table(image_, other)) return true;
    }
    return false;
  }

  // A layer that lost its entry is still counted in all that the table names.
  base::Result<void> keep_counted() {
    std::vector<std::uint64_t> clusters;
    for (const auto& [cluster, lost] : lost_) clusters.push_back(cluster);
    const auto holdings = holdings_of(image_, walk_, metadata_, refcounts_, clusters);
    if (!holdings) return std::unexpected(holdings.error());
    for (std::size_t i = 0; i < clusters.size(); ++i) {
      const auto& holding = (*holdings)[i];
      // Without entries, and with zeros only over nothing, there is nothing that a layer could have lost. Zeros
      // over a backing file are no evidence either where a write that was stopped leaves the same.
      const bool nothing = holding.owned == 0 && holding.lost == 0 &&
                           (holding.entries == 0 || !image_.backing_name || lost_.at(clusters[i]).given_up) &&
                           !walk_.rules().external_data;
      if (nothing || holding.uncounted()) lost_.erase(clusters[i]);
    }
    return {};
  }

  // Entries of the same index that are empty, below the end of their layer's disk: the active layer's, or the
  // snapshots'.
  void judge(std::uint64_t cluster, const Mismatch& mismatch, std::uint64_t index, std::uint32_t holder,
             std::span<const L1Entry> entries) {
    const auto& trees = walk_.trees();
    std::vector<std::uint32_t> empty;
    for (std::uint32_t t = 0; t < entries.size() && empty.size() < most_layers; ++t) {
      if (entries[t].offset().raw() != 0 || index >= trees[t].entries ||
          index >= g_.l1_entries(trees[t].disk_size) ||
          metadata_.contested(g_.cluster_of(base::HostOffset{trees[t].l1.raw() + index * 8})))
        continue;
      empty.push_back(t);
      if (trees[t].active) break;  // snapshots may be older than the table
    }
    if (empty.empty()) return;
    Finding f{"l1/entry-lost"_rule};
    f.where = naming_.l1_entry(trees[empty.front()], index);
    f.host = {base::HostOffset{cluster << g_.cluster_bits()}, g_.cluster_size()};
    f.snapshot = naming_.layer(trees[empty.front()]);
    f.expected = Value::dec(mismatch.label.refs);
    f.actual = Value::dec(mismatch.stored);
    for (const auto t : empty)
      naming_.put_guest(f, trees[t], base::GuestOffset{index * g_.span()}, g_.span());
    f.owners.push_back({"L2 table", naming_.l1_entry(trees[holder], index), {}});
    f.detail = fmt::format(
        "{} names this L2 table, whose refcount counts more layers; of this index {} {} empty; the refcount "
        "must not "
        "be lowered",
        naming_.l1_entry(trees[holder], index), f.where, empty.size() > 1 ? "and others are" : "is");
    const bool given_up = mismatch.stored == mismatch.label.refs + 1 && !trees[empty.front()].active &&
                          !held_by_active(cluster, entries);
    lost_.emplace(cluster, Lost{std::move(f), given_up});
  }

  [[nodiscard]] bool held_by_active(std::uint64_t cluster, std::span<const L1Entry> entries) const {
    const auto& trees = walk_.trees();
    for (std::uint32_t t = 0; t < entries.size(); ++t)
      if (trees[t].active && g_.cluster_of(entries[t].offset()).raw() == cluster) return true;
    return false;
  }

  // What is left of a run without the tables that an entry was lost of.
  void report_others(const Mismatch& mismatch) {
    Mismatch rest = mismatch;
    const std::uint64_t end = mismatch.first + mismatch.count;
    for (auto lost = lost_.lower_bound(mismatch.first); rest.first < end; ++lost) {
      const std::uint64_t stop = lost == lost_.end() ? end : std::min(end, lost->first);
      rest.count = stop - rest.first;
      if (rest.count != 0) refcounts_.report(rest);
      rest.first = stop + 1;
      if (lost == lost_.end()) return;
    }
  }

  struct Lost {
    Finding finding;
    // The active layer may have shared the table and written a copy of its own: a crash then leaves it counted for
    // the active layer still, and what snapshots miss they never had. An L1 table of a snapshot is written once.
    bool given_up = false;
  };

  Image& image_;
  MappingWalk& walk_;
  const MetadataMap& metadata_;
  Refcounts& refcounts_;
  std::span<const Mismatch> held_;
  const Scrap& scrap_;
  const format::Geometry g_;
  Naming naming_;
  std::map<std::uint64_t, Lost> lost_;  // by the table's cluster
};

}  // namespace

base::Result<void> report_held_tables(Image& image, MappingWalk& walk, const MetadataMap& metadata,
                                      Refcounts& refcounts, std::span<const Mismatch> held,
                                      const Scrap& scrap) {
  if (held.empty()) return {};
  return HeldTables(image, walk, metadata, refcounts, held, scrap).run();
}

}  // namespace cowvet::analyzer
