// Lost tables and clusters that have no certain place in any layer: an internal snapshot of their own keeps
// them, in the order of the file, so that they can be read, carved and put right by hand. Promises: done
// last, when nothing else finds a place for them; no layer that is there reads otherwise.
#include <algorithm>
#include <iterator>

#include <fmt/format.h>

#include "analyzer/info.hpp"
#include "repair/candidates.hpp"
#include "repair/lost_clusters.hpp"
#include "repair/remedies.hpp"
#include "repair/snapshot_table.hpp"

namespace cowvet::repair {

using namespace findings::literals;
using base::HostOffset;
using findings::Consent;

namespace {

constexpr std::string_view keep = "keep what has no certain place in an internal snapshot of its own";
constexpr std::string_view name = "lost+found";
constexpr std::uint64_t most_tables = 1U << 16;

class LostAndFound {
 public:
  explicit LostAndFound(Draft& draft)
      : draft_(draft),
        g_(draft.geometry()),
        listed_(analyzer::read_snapshots(draft.image(), draft.header())) {}

  Remedied run() {
    if (draft_.header().external_data_file() || listed_.size() != draft_.header().v2.nb_snapshots ||
        listed_.size() + draft_.verdict().orphans.size() > format::limits::max_snapshots ||
        !draft_.verdict().lost_snapshots.empty())
      return {};
    collect();
    if (auto done = collect_clusters(); !done) return done;
    if (tables_.empty() && l1_tables_.empty() && clusters_.empty()) return {};
    if (!draft_.allows(Consent::choice)) {
      std::erase_if(tables_, [&](auto table) { return draft_.spared(table >> g_.cluster_bits(), 1); });
      const auto candidates = candidates_for(draft_, tables_);
      for (std::size_t i = 0; i < tables_.size(); ++i) withhold(tables_[i], candidates[i]);
      for (const auto table : l1_tables_) withhold(table);
      return {};
    }
    name_candidates();
    if (auto done = make_tables(); !done) return done;
    if (auto done = make_l1(); !done) return done;
    if (action_ == nullptr) return {};
    return store_snapshots(draft_, *action_, listed_);
  }

 private:
  void withhold(std::uint64_t table, std::vector<Candidate> candidates = {}) {
    draft_.withhold("refcount/leak-holds-table"_rule, Consent::choice, keep,
                    {.where = fmt::format("cluster[{}]", table >> g_.cluster_bits()),
                     .candidates = std::move(candidates)});
  }
  void collect() {
    for (const auto& orphan : draft_.verdict().orphans) {
      const std::uint64_t at = orphan.cluster << g_.cluster_bits();
      if (orphan.is_l1 && orphan.where_from.empty()) {
        if (at + g_.l1_entries(draft_.header().v2.size) * 8 <= draft_.image().size())
          l1_tables_.push_back(at);
      } else if (!orphan.is_l1 && orphan.lost != 0 && tables_.size() < most_tables &&
                 (g_.max_refcount() > 1 || orphan.lost == orphan.named)) {
        tables_.push_back(at);
      }
    }
    // What a lost L1 table leads to is found again with it.
    if (!l1_tables_.empty()) tables_.clear();
  }
  // Those that found no place meanwhile.
  Remedied collect_clusters() {
    const auto kept = draft_.take_kept();
    if (kept.empty()) return {};
    const auto lost = lost_clusters(draft_, Counted::ever);
    if (!lost) return std::unexpected(lost.error());
    std::ranges::set_intersection(kept, *lost, std::back_inserter(clusters_));
    return {};
  }
  Action* act(std::string where, std::string evidence) {
    action_ = draft_.may_act("refcount/leak-holds-table"_rule, Consent::choice, keep,
                             {.where = std::move(where), .evidence = std::move(evidence)});
    return action_;
  }

  // So that whoever reads the plan can choose instead.
  void name_candidates() {
    const auto candidates = candidates_for(draft_, tables_);
    for (std::size_t i = 0; i < tables_.size(); ++i)
      if (!candidates[i].empty())
        draft_.act_at("refcount/leak-holds-table"_rule, Consent::choice, keep,
                      {.where = fmt::format("cluster[{}]", tables_[i] >> g_.cluster_bits()),
                       .candidates = candidates[i]});
  }

  // L2 tables for single clusters.
  Remedied make_tables() {
    const std::uint64_t needed = base::divide_up(clusters_.size(), g_.l2_entries());
    if (needed == 0 || needed > most_tables) return {};
    const auto room = draft_.take(needed);
    if (!room) return {};
    std::vector<std::byte> bytes(static_cast<std::size_t>(needed * g_.cluster_size()));
    for (std::size_t i = 0; i < clusters_.size(); ++i) {
      auto entry = std::span(bytes).subspan(i * static_cast<std::size_t>(g_.l2_entry_size()),
                                            static_cast<std::size_t>(g_.l2_entry_size()));
      base::store_be<std::uint64_t, 0>(entry.first<8>(), clusters_[i] << g_.cluster_bits());
      if (g_.extended_l2()) base::store_be<std::uint64_t, 0>(entry.last<8>(), inside(clusters_[i]));
    }
    auto* action = act(
        "l2 tables", fmt::format("{} clusters hold data, and nothing tells whose it was", clusters_.size()));
    for (std::uint64_t i = 0; i < needed; ++i) tables_.push_back(*room + i * g_.cluster_size());
    return draft_.put(*action, *room, bytes);
  }
  // The subclusters that begin inside the file.
  [[nodiscard]] std::uint64_t inside(std::uint64_t cluster) const {
    std::uint64_t bits = 0;
    for (unsigned i = 0; i < format::subclusters_per_cluster; ++i)
      if ((cluster << g_.cluster_bits()) + i * g_.subcluster_size() < draft_.image().size())
        bits |= 1ULL << i;
    return bits;
  }

  Remedied make_l1() {
    const std::uint64_t disk = draft_.header().v2.size;
    for (const auto table : l1_tables_) {
      const auto snapshot = new_snapshot(draft_, listed_, name, HostOffset{table}, g_.l1_entries(disk), disk);
      (void)act(fmt::format("cluster[{}]", table >> g_.cluster_bits()),
                fmt::format("it holds a lost L1 table, and no snapshot misses one; it is called '{}'",
                            snapshot.name));
      listed_.push_back(snapshot);
    }
    if (tables_.empty()) return {};
    std::vector<std::byte> bytes(
        static_cast<std::size_t>(g_.clusters(tables_.size() * 8) * g_.cluster_size()));
    for (std::size_t i = 0; i < tables_.size(); ++i)
      base::store_be<std::uint64_t, 0>(std::span(bytes).subspan(i * 8).first<8>(), tables_[i]);
    const auto room = draft_.take(bytes.size() / g_.cluster_size());
    if (!room) return {};
    const auto snapshot =
        new_snapshot(draft_, listed_, name, HostOffset{*room}, tables_.size(), tables_.size() * g_.span());
    auto* action = act("snapshot table",
                       fmt::format("{} lost tables have no certain place: snapshot '{}' holds them in the "
                                   "order of the file",
                                   tables_.size(), snapshot.name));
    listed_.push_back(snapshot);
    return draft_.put(*action, *room, bytes);
  }

  Draft& draft_;
  const format::Geometry g_;
  std::vector<format::Snapshot> listed_;
  std::vector<std::uint64_t> tables_, l1_tables_, clusters_;
  Action* action_ = nullptr;
};

}  // namespace

Remedied keep_lost(Draft& draft) {
  const auto& verdict = draft.verdict();
  if (!verdict.geometry || !verdict.complete || verdict.inferred || draft.header().v2.size == 0) return {};
  return LostAndFound(draft).run();
}

}  // namespace cowvet::repair
