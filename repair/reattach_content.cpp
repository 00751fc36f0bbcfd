// Lost tables and lost clusters that the image's own metadata has no place for, put where the guest's file
// systems have one for them. Promises: entries that lead to something are never changed; a place is taken by
// choice only, and its evidence is told.
#include <algorithm>
#include <map>
#include <set>

#include <fmt/format.h>

#include "analyzer/l2_scan.hpp"
#include "repair/content_places.hpp"
#include "repair/lost_clusters.hpp"
#include "repair/remedies.hpp"
#include "repair/tables.hpp"
#include "repair/vacancies.hpp"

namespace cowvet::repair {

using namespace findings::literals;
using findings::Consent;

namespace {

constexpr std::string_view put_table_by_content = "put the lost L2 table where its content belongs";
constexpr std::string_view put_cluster_by_content = "put the lost data cluster where its content belongs";
constexpr std::uint64_t most_placed_entries = 1U << 20;  // of an L1 table
constexpr std::size_t most_open = 1U << 18;              // entries that lost clusters may belong to

class ByContent {
 public:
  explicit ByContent(Draft& draft) : draft_(draft), g_(draft.geometry()) {}

  Remedied run() {
    const auto writes = draft_.writes();
    if (auto done = put_tables(); !done || draft_.writes() != writes) return done;
    return put_clusters();
  }

 private:
  [[nodiscard]] findings::GuestRange guest(std::uint64_t begin, std::uint64_t length) const {
    return {base::GuestOffset{begin}, std::min(length, draft_.header().v2.size - begin), ""};
  }

  Remedied put_tables() {
    std::vector<std::uint64_t> lost, indices;
    for (const auto& orphan : draft_.verdict().orphans)
      if (!orphan.is_l1) lost.push_back(orphan.cluster << g_.cluster_bits());
    const auto& v2 = draft_.header().v2;
    const std::uint64_t entries = std::min<std::uint64_t>(v2.l1_size, g_.l1_entries(v2.size));
    if (lost.empty() || entries > most_placed_entries) return {};
    const auto open = vacancies(draft_, true);
    for (std::uint64_t i = 0; i < entries; ++i) {
      const std::uint64_t at = v2.l1_table_offset.raw() + i * 8;
      const bool vacant =
          std::ranges::any_of(open, [&](const Vacancy& v) { return v.place.offset == at && !v.shared; });
      if ((draft_.word(at) == 0 || vacant) && !draft_.awaits(at) && !draft_.chosen(at)) indices.push_back(i);
    }
    const auto found = tables_by_content(draft_, lost, indices);
    if (!found) return std::unexpected(found.error());
    const auto& places = *found;
    for (std::size_t i = 0; i < lost.size(); ++i) {
      if (!places[i]) continue;
      const std::uint64_t index = indices[places[i]->place], at = v2.l1_table_offset.raw() + index * 8;
      auto* action = draft_.may_act("refcount/leak-holds-table"_rule, Consent::choice, put_table_by_content,
                                    {.where = fmt::format("l1[{}]", index),
                                     .guest = {guest(index * g_.span(), g_.span())},
                                     .evidence = places[i]->evidence});
      if (action == nullptr) {
        draft_.await(at);
        draft_.spare(lost[i] >> g_.cluster_bits(), 1);
      } else if (auto done = draft_.put_word(*action, at, lost[i] | format::copied_flag); !done) {
        return done;
      }
    }
    return {};
  }

  // --- data clusters

  struct Open {                              // an entry that a lost cluster may belong to
    std::uint64_t offset = 0, l1_entry = 0;  // of its word, and of the L1 entry above
    findings::RuleId rule;
  };
  void add_table(std::uint64_t l1_index, std::uint64_t table, findings::RuleId rule) {
    const auto bytes = draft_.bytes(table, g_.cluster_size());
    const analyzer::ScanRules rules{.geometry = g_,
                                    .eof = draft_.image().size(),
                                    .version2 = !draft_.header().has_v3(),
                                    .external_data = false};
    std::vector<analyzer::EntryRun> runs;
    analyzer::scan_l2(bytes, rules, l1_index * g_.span(), runs);
    std::vector<bool> taken(static_cast<std::size_t>(g_.l2_entries()));
    for (const auto& run : runs)
      if (!analyzer::foreign(run) && (run.problems & analyzer::problem::past_eof) == 0)
        for (std::uint64_t i = run.first; i < run.first + run.count; ++i)
          taken[static_cast<std::size_t>(i)] = true;
    for (std::uint64_t i = 0; i < g_.l2_entries(); ++i) {
      const std::uint64_t cluster = (l1_index << g_.l2_bits()) + i;
      const bool empty = base::all_zero(std::span(bytes).subspan(
          static_cast<std::size_t>(i * g_.l2_entry_size()), static_cast<std::size_t>(g_.l2_entry_size())));
      if ((taken[static_cast<std::size_t>(i)] && !empty) ||
          cluster << g_.cluster_bits() >= draft_.header().v2.size || open_.size() >= most_open ||
          draft_.chosen(table + i * g_.l2_entry_size()))
        continue;
      open_.try_emplace(cluster, table + i * g_.l2_entry_size(),
                        draft_.header().v2.l1_table_offset.raw() + l1_index * 8, rule);
    }
  }
  // Entries of tables without any, of tables with strange ones, and single ones that lead nowhere.
  void find_open() {
    for (const auto& v : vacancies(draft_, true))
      if (v.rule == "l2/table-implausible"_rule && v.place.table == draft_.header().v2.l1_table_offset.raw())
        add_table(v.place.l1_index, v.word & format::entry_offset_mask, v.rule);
    for_each_table(draft_, [&](const L2Table& table) {
      if (table.l1.prefix.empty() && base::all_zero(table.bytes))
        add_table(table.l1_index, table.offset, "l2/table-zeroed"_rule);
    });
    for (const auto& v : vacancies(draft_, false)) {
      if (v.shared || draft_.chosen(v.place.offset) || !v.where.starts_with("l1[")) continue;
      const std::uint64_t cluster = (v.place.l1_index << g_.l2_bits()) + v.place.l2_index;
      if (cluster << g_.cluster_bits() < draft_.header().v2.size)
        open_.try_emplace(cluster, v.place.offset, 0, v.rule);
    }
  }

  Remedied put_clusters() {
    if (draft_.header().external_data_file() || draft_.verdict().inferred ||
        draft_.verdict().summary.of("refcount/leak"_rule).findings == 0)
      return {};
    find_open();
    if (open_.empty()) return {};
    const auto lost = lost_clusters(draft_, Counted::once);
    if (!lost) return std::unexpected(lost.error());
    std::vector<std::uint64_t> words, clusters;
    for (const auto cluster : *lost)
      if (!base::all_zero(draft_.bytes(cluster << g_.cluster_bits(), g_.cluster_size())))
        words.push_back(cluster << g_.cluster_bits() | format::copied_flag);
    for (const auto& [cluster, entry] : open_) clusters.push_back(cluster);
    const auto found = clusters_by_content(draft_, words, clusters);
    if (!found) return std::unexpected(found.error());
    const auto& places = *found;
    if (std::ranges::none_of(places, [](const auto& place) { return place.has_value(); })) return {};
    std::set<std::uint64_t> placed;
    for (std::size_t i = 0; i < words.size(); ++i) {
      if (!places[i]) continue;
      if (auto done = put(words[i], clusters[places[i]->place], places[i]->evidence); !done) return done;
      placed.insert((words[i] & format::entry_offset_mask) >> g_.cluster_bits());
    }
    return keep_others(placed);
  }
  // The table is not empty any more, and nothing else would tell that the others were its data too.
  Remedied keep_others(const std::set<std::uint64_t>& placed) {
    if (!draft_.allows(Consent::choice)) return {};
    const auto lost = lost_clusters(draft_, Counted::ever);
    if (!lost) return std::unexpected(lost.error());
    for (const auto cluster : *lost)
      if (!placed.contains(cluster) &&
          !base::all_zero(draft_.bytes(cluster << g_.cluster_bits(), g_.cluster_size())))
        draft_.keep(cluster);
    return {};
  }
  Remedied put(std::uint64_t word, std::uint64_t cluster, std::string evidence) {
    const auto& entry = open_.at(cluster);
    auto* action = draft_.may_act(
        entry.rule, Consent::choice, put_cluster_by_content,
        {.where = fmt::format("l1[{}].l2[{}]", cluster >> g_.l2_bits(), cluster & (g_.l2_entries() - 1)),
         .guest = {guest(cluster << g_.cluster_bits(), g_.cluster_size())},
         .evidence = std::move(evidence)});
    const std::uint64_t host = word & format::entry_offset_mask;
    if (action == nullptr) {
      draft_.await(entry.offset);
      draft_.await(entry.l1_entry);
      draft_.spare(host >> g_.cluster_bits(), 1);
      return {};
    }
    if (g_.extended_l2())
      if (auto done = draft_.put_word(*action, entry.offset + 8, subclusters(host)); !done) return done;
    return draft_.put_word(*action, entry.offset, word);
  }
  // Those with content are allocated; the others too where the backing file would show through them.
  [[nodiscard]] std::uint64_t subclusters(std::uint64_t host) const {
    if (draft_.verdict().backing_name) return 0xffffffffU;
    std::uint64_t bits = 0;
    for (unsigned i = 0; i < format::subclusters_per_cluster; ++i)
      if (!base::all_zero(draft_.bytes(host + i * g_.subcluster_size(), g_.subcluster_size())))
        bits |= 1ULL << i;
    return bits;
  }

  Draft& draft_;
  const format::Geometry g_;
  std::map<std::uint64_t, Open> open_;  // by the guest's cluster
};

}  // namespace

Remedied reattach_by_content(Draft& draft) {
  if (!draft.verdict().geometry || !draft.verdict().complete) return {};
  return ByContent(draft).run();
}

}  // namespace cowvet::repair
