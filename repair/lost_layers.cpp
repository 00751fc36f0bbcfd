// Tables of which all layers lost theirs. The disk's places are in the order of the file; those of one place
// are told apart by what they have in common, and as many layers use a table as its refcount says. Promises:
// done only where these numbers add up.
#include <algorithm>

#include <fmt/format.h>

#include "analyzer/info.hpp"
#include "analyzer/stored_refcounts.hpp"
#include "repair/generations.hpp"
#include "repair/remedies.hpp"
#include "repair/tables.hpp"
#include "repair/vacancies.hpp"

namespace cowvet::repair {

using namespace findings::literals;
using findings::Consent;

namespace {

constexpr std::string_view new_l1 =
    "make an L1 table as large as the lost L2 tables and snapshots need, and a disk of that size";
constexpr std::string_view put_into_layers = "put the lost L2 table back into its layers";
constexpr std::uint64_t most_l1_entries = 1U << 20;  // of an L1 table

// The words of a table's entries.
std::vector<std::uint64_t> entries_of(const Draft& draft, std::uint64_t table) {
  const auto& g = draft.geometry();
  const auto bytes = draft.bytes(table, g.cluster_size());
  const base::BigEndianTable<std::uint64_t> words(bytes);
  std::vector<std::uint64_t> entries;
  for (std::size_t i = 0; i < words.size(); i += static_cast<std::size_t>(g.l2_entry_size() / 8))
    entries.push_back(words[i]);
  return entries;
}

// Tables of one place in the order of time. The disk as it is comes last: it alone has clusters of its own
// (COPIED). The less a table has in common with it, the older it is. Nothing when several have clusters of
// their own.
std::vector<std::uint64_t> in_time(const Draft& draft, std::vector<std::uint64_t> tables) {
  const auto is_own = [](std::uint64_t word) { return (word & format::copied_flag) != 0; };
  const auto newest = std::ranges::find_if(
      tables, [&](std::uint64_t table) { return std::ranges::any_of(entries_of(draft, table), is_own); });
  if (newest != tables.end()) std::rotate(newest, newest + 1, tables.end());
  const auto last = entries_of(draft, tables.back());
  std::vector<std::pair<std::size_t, std::uint64_t>> by_likeness;  // ascending for older ones
  for (std::size_t t = 0; t + 1 < tables.size(); ++t) {
    const auto entries = entries_of(draft, tables[t]);
    if (std::ranges::any_of(entries, is_own)) return {};
    std::size_t common = 0;
    for (std::size_t i = 0; i < entries.size(); ++i)
      common += entries[i] != 0 && entries[i] == (last[i] & ~format::copied_flag) ? 1U : 0U;
    by_likeness.emplace_back(common, tables[t]);
  }
  std::ranges::stable_sort(by_likeness, {}, [](const auto& item) { return item.first; });
  for (std::size_t t = 0; t < by_likeness.size(); ++t) tables[t] = by_likeness[t].second;
  return tables;
}

class Layers {
 public:
  explicit Layers(Draft& draft) : draft_(draft), g_(draft.geometry()), layers_(l1_tables(draft)) {
    // In the order of time: the disk as it is comes last.
    std::ranges::rotate(layers_, layers_.begin() + (layers_.empty() ? 0 : 1));
    for (const auto& v : vacancies(draft, true))
      if (!v.shared) open_.push_back(v.place.offset);
  }

  Remedied run() {
    if (layers_.size() < 2 || layers_.back().entries > most_l1_entries) return {};
    const auto tables = lost_tables(draft_);
    if (tables.size() < 2) return {};
    const auto groups = generations(draft_, tables);
    // The size of a disk may be wrong: what no layer has an entry for is no place.
    std::uint64_t end = 0;
    for (const auto& l1 : layers_) end = std::max(end, l1.entries);
    end = std::min({end, g_.l1_entries(layers_.back().disk), most_l1_entries});
    std::vector<std::uint64_t> indices;  // of which no layer has a table
    for (std::uint64_t i = 0; i < end && indices.size() <= groups.size(); ++i)
      if (std::ranges::all_of(layers_, [&](const L1Table& l1) { return i >= l1.entries || vacant(l1, i); }))
        indices.push_back(i);
    if (groups.size() != indices.size()) return {};
    analyzer::StoredRefcounts counts(draft_.image(), g_, draft_.header().v2.refcount_table_offset);
    for (std::size_t k = 0; k < groups.size(); ++k)
      if (auto done = put_group(tables, groups[k], indices[k], counts); !done) return done;
    return {};
  }

 private:
  [[nodiscard]] bool vacant(const L1Table& l1, std::uint64_t index) const {
    const std::uint64_t at = l1.offset + index * 8;
    return (draft_.word(at) == 0 || std::ranges::find(open_, at) != open_.end()) && !draft_.awaits(at) &&
           !draft_.chosen(at);
  }

  Remedied put_group(std::span<const std::uint64_t> tables, std::span<const std::size_t> group,
                     std::uint64_t index, analyzer::StoredRefcounts& counts) {
    std::vector<const L1Table*> layers;
    for (const auto& l1 : layers_)
      if (index < l1.entries) layers.push_back(&l1);
    std::vector<std::uint64_t> used;  // a table for each layer that has one
    std::vector<std::uint64_t> of_group;
    for (const auto k : group) of_group.push_back(tables[k]);
    for (const auto table : in_time(draft_, std::move(of_group))) {
      const std::uint64_t count = counts.of(table >> g_.cluster_bits());
      if (count == 0 || count > layers.size()) return {};
      used.insert(used.end(), static_cast<std::size_t>(count), table);
    }
    if (used.size() > layers.size()) return {};
    // A place that is in use stays so: the first layers are those without a table.
    layers.erase(layers.begin(), layers.end() - static_cast<std::ptrdiff_t>(used.size()));
    for (std::size_t k = 0; k < used.size(); ++k) {
      const auto& l1 = *layers[k];
      const std::uint64_t at = l1.offset + index * 8, begin = index * g_.span();
      if (begin >= l1.disk) continue;
      auto* action = draft_.may_act(
          "refcount/leak-holds-table"_rule, Consent::choice, put_into_layers,
          {.where = fmt::format("{}l1[{}]", l1.prefix, index),
           .guest = {{base::GuestOffset{begin}, std::min(g_.span(), l1.disk - begin), l1.id}},
           .evidence =
               "as many places have lost tables as entries none, in the order of the file; as many layers "
               "use a table as it is counted"});
      if (action == nullptr) {
        draft_.await(at);
        draft_.spare(used[k] >> g_.cluster_bits(), 1);
      } else if (auto done = draft_.put_word(*action, at, used[k]); !done) {
        return done;
      }
    }
    return {};
  }

  Draft& draft_;
  const format::Geometry g_;
  std::vector<L1Table> layers_;
  std::vector<std::uint64_t> open_;  // entries that lead nowhere, though they are not empty
};

}  // namespace

// The disk is said to be of no size, since no L1 table tells it.
Remedied give_size(Draft& draft) {
  auto header = draft.header();
  if (header.v2.size != 0 || draft.verdict().inferred || draft.verdict().orphans.empty()) return {};
  const auto& g = draft.geometry();
  const auto groups = generations(draft, lost_tables(draft));
  std::uint64_t size = groups.size() * g.span();
  for (const auto& s : analyzer::read_snapshots(draft.image(), header)) {
    if (const auto disk = s.disk_size_bytes(); disk && g.l1_entries(*disk) >= groups.size()) size = *disk;
    size = std::max(size, (std::uint64_t{s.entry.l1_size} - (s.entry.l1_size != 0 ? 1 : 0)) * g.span());
  }
  const std::uint64_t entries = g.l1_entries(size);
  if (entries == 0 || entries > most_l1_entries) return {};
  const findings::RuleId rule = "refcount/leak-holds-table"_rule;
  if (!draft.allows(Consent::choice)) {
    draft.withhold(rule, Consent::choice, new_l1, {.where = "header"});
    return {};
  }
  const auto room = draft.take(g.clusters(entries * 8));
  if (!room) return {};
  auto* action =
      draft.may_act(rule, Consent::choice, new_l1,
                    {.where = "header",
                     .guest = {{base::GuestOffset{0}, size, ""}},
                     .evidence = fmt::format("{} places of the disk have lost tables", groups.size())});
  header.v2.size = size;
  header.v2.l1_size = static_cast<std::uint32_t>(entries);
  header.v2.l1_table_offset = base::HostOffset{*room};
  return draft.put(*action, 0, format::encode(header.v2));
}

Remedied reattach_layers(Draft& draft) {
  if (!draft.verdict().geometry || !draft.verdict().complete || draft.verdict().inferred) return {};
  return Layers(draft).run();
}

}  // namespace cowvet::repair
