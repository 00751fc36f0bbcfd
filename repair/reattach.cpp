// What nothing refers to any more, back to where it belongs. Lost L2 tables have a place by the check's evidence, or by
// the damaged entry itself; lost data clusters by the entry's neighbours, since neighbours in a disk are neighbours
// in the file as a rule, or by the entry, when a single bit makes the difference. Promises: only what one answer is
// supported for is put back, and the evidence is told; where several are, nothing is.
#include <algorithm>
#include <map>
#include <unordered_map>
#include <unordered_set>

#include <fmt/format.h>

#include "repair/generations.hpp"
#include "repair/lost_clusters.hpp"
#include "repair/remedies.hpp"
#include "repair/snapshot_table.hpp"
#include "repair/tables.hpp"
#include "repair/vacancies.hpp"

namespace cowvet::repair {

using namespace findings::literals;
using findings::Consent;

namespace {

constexpr std::string_view put_table = "put the lost L2 table back";
constexpr std::string_view put_cluster = "put the lost data cluster back";
constexpr std::size_t most_entries = 1U << 20;  // of an L1 table that lost ones are put back to

class Reattachment {
 public:
  explicit Reattachment(Draft& draft) : draft_(draft), g_(draft.geometry()) {}

  Remedied run() {
    if (auto done = name_entries_lost(); !done) return done;
    if (auto done = put_tables(); !done) return done;
    return put_clusters();
  }

 private:
  // The table is known: another layer names it at the same place.
  Remedied name_entries_lost() {
    for (const auto& f : draft_.found("l1/entry-lost"_rule)) {
      const auto place = draft_.entry(f.where);
      if (!place || !f.host) continue;
      if (auto done = put(f.rule, put_table, *place, f.host->begin.raw(), place_from(f, f.detail)); !done)
        return done;
    }
    return {};
  }

  Remedied put(findings::RuleId rule, std::string_view what, const EntryPlace& entry, std::uint64_t to,
               Place place) {
    if (draft_.contested(entry) || draft_.chosen(entry.offset)) return {};
    auto* action = draft_.may_act(rule, Consent::choice, what, std::move(place));
    if (action == nullptr) {
      draft_.await(entry.offset);
      draft_.spare(to >> g_.cluster_bits(), 1);
      return {};
    }
    return draft_.put_word(*action, entry.offset, to | format::copied_flag);
  }

  Remedied put_tables() {
    auto open = vacancies(draft_, true, true);
    std::erase_if(open, [&](const Vacancy& v) { return draft_.chosen(v.place.offset); });
    std::vector<const analyzer::Orphan*> orphans;
    for (const auto& orphan : draft_.verdict().orphans)
      if (!orphan.is_l1 && may_be_l2(orphan)) orphans.push_back(&orphan);
    if (orphans.empty()) return {};
    const auto tables = l1_tables(draft_);
    std::vector<const analyzer::Orphan*> rest;
    for (const auto* orphan : orphans) {
      const std::uint64_t offset = orphan->cluster << g_.cluster_bits();
      // The damaged entry itself is the best witness.
      auto like = std::ranges::find_if(
          open, [&](const Vacancy& v) { return !v.shared && !v.cut && !resembles(v.word, offset).empty(); });
      if (like == open.end()) like = of_those_that_share(open, offset, tables);
      if (like != open.end()) {
        if (auto done =
                put(like->rule, put_table, like->place, offset,
                    {.where = like->where, .guest = like->guest, .evidence = resembles(like->word, offset)});
            !done)
          return done;
        open.erase(like);
        continue;
      }
      if (!alone(*orphan)) {
        rest.push_back(orphan);
        continue;
      }
      const auto& guest = orphan->guest.front();
      const std::uint64_t index = guest.begin.raw() / g_.span();
      const auto l1 = std::ranges::find(tables, guest.snapshot, &L1Table::id);
      if (l1 == tables.end() || index >= l1->entries) {
        rest.push_back(orphan);
        continue;
      }
      const EntryPlace place{
          .offset = l1->offset + index * 8, .l1 = true, .l1_index = index, .table = l1->offset};
      const std::uint64_t word = draft_.word(place.offset);
      const auto vacancy =
          std::ranges::find_if(open, [&](const Vacancy& v) { return v.place.offset == place.offset; });
      if (word != 0 && vacancy == open.end()) continue;  // taken meanwhile
      // An empty entry says nothing of a table that was there, and this one may be a lost bitmap's.
      if (!orphan->copied && !orphan->placed && vacancy == open.end()) continue;
      if (auto done = put("refcount/leak-holds-table"_rule, put_table, place, offset,
                          {.where = fmt::format("{}l1[{}]", l1->prefix, index),
                           .guest = orphan->guest,
                           .evidence = orphan->where_from});
          !done)
        return done;
      if (vacancy != open.end()) open.erase(vacancy);
    }
    std::erase_if(open, [](const Vacancy& v) { return v.shared || v.cut; });
    if (rest.size() == 1 && open.size() == 1)
      return put(open.front().rule, put_table, open.front().place, rest.front()->cluster << g_.cluster_bits(),
                 {.where = open.front().where,
                  .guest = open.front().guest,
                  .evidence = "it is the only lost table, and this the only entry that leads nowhere"});
    return put_in_order(rest, open);
  }
  // Without snapshots each cluster has one owner, whose entry has COPIED: tables of bitmaps look the same but for that.
  [[nodiscard]] bool may_be_l2(const analyzer::Orphan& orphan) const {
    if (orphan.copied || !draft_.verdict().lost_snapshots.empty()) return true;
    if (draft_.header().v2.snapshots_offset.raw() != 0 && l1_tables(draft_).size() > 1) return true;
    const auto table = draft_.bytes(orphan.cluster << g_.cluster_bits(), g_.cluster_size());
    const base::BigEndianTable<std::uint64_t> words(table);
    for (std::size_t i = 0; i < words.size(); i += static_cast<std::size_t>(g_.l2_entry_size() / 8))
      if (const format::L2Entry entry{words[i]}; !entry.compressed() && entry.offset().raw() != 0)
        return false;
    return true;
  }
  // Of entries that name one table, and of which any may be the damaged one, that which another layer's table at the
  // same index is most like this one.
  [[nodiscard]] std::vector<Vacancy>::iterator of_those_that_share(std::vector<Vacancy>& open,
                                                                   std::uint64_t offset,
                                                                   const std::vector<L1Table>& tables) const {
    auto best = open.end();
    std::uint64_t most = 0;
    for (auto v = open.begin(); v != open.end(); ++v) {
      if (!v->shared || resembles(v->word, offset).empty()) continue;
      std::uint64_t alike = 0;
      for (const auto& l1 : tables) {
        if (l1.offset == v->place.table || v->place.l1_index >= l1.entries) continue;
        const std::uint64_t other =
            draft_.word(l1.offset + v->place.l1_index * 8) & format::entry_offset_mask;
        alike = std::max(alike, entries_alike(offset, other));
      }
      if (alike == most) best = open.end();
      if (alike > most) {
        most = alike;
        best = v;
      }
    }
    return best;
  }
  // Entries of two tables that name the same cluster.
  [[nodiscard]] std::uint64_t entries_alike(std::uint64_t one, std::uint64_t other) const {
    if (other == 0 || other == one || !g_.aligned(base::HostOffset{other})) return 0;
    const auto a = draft_.bytes(one, g_.cluster_size()), b = draft_.bytes(other, g_.cluster_size());
    const base::BigEndianTable<std::uint64_t> words(a), others(b);
    std::uint64_t alike = 0;
    for (std::size_t i = 0; i < words.size(); i += static_cast<std::size_t>(g_.l2_entry_size() / 8))
      alike += words[i] != 0 && ((words[i] ^ others[i]) & format::entry_offset_mask) == 0 ? 1U : 0U;
    return alike;
  }
  // Whether the check found one place for the lost table, which no other one wants.
  [[nodiscard]] bool alone(const analyzer::Orphan& orphan) const {
    if (orphan.guest.size() != 1 || orphan.guest.front().length > g_.span()) return false;
    const auto same = [&](const analyzer::Orphan& other) {
      return !other.is_l1 && other.guest.size() == 1 &&
             other.guest.front().begin == orphan.guest.front().begin &&
             other.guest.front().snapshot == orphan.guest.front().snapshot;
    };
    return orphan.placed || std::ranges::count_if(draft_.verdict().orphans, same) == 1;
  }
  // As many lost tables as entries of the active L1 table that lead nowhere: tables are made in the order of the disk.
  Remedied put_in_order(std::span<const analyzer::Orphan* const> lost, std::span<const Vacancy> open) {
    const auto& v2 = draft_.header().v2;
    const std::uint64_t entries = std::min<std::uint64_t>(v2.l1_size, g_.l1_entries(v2.size));
    const std::uint64_t begin = v2.l1_table_offset.raw(), eof = draft_.image().size();
    if (lost.empty() || entries > most_entries || !g_.aligned(v2.l1_table_offset) || begin == 0 ||
        begin > eof || entries * 8 > eof - begin)
      return {};
    // Of one place at several times only one table is the disk's.
    std::vector<std::uint64_t> tables;
    for (const auto* orphan : lost) tables.push_back(orphan->cluster << g_.cluster_bits());
    if (generations(draft_, tables).size() != tables.size() ||
        !std::ranges::all_of(lost, &analyzer::Orphan::copied))
      return {};
    std::vector<EntryPlace> places;
    for (std::uint64_t i = 0; i < entries; ++i) {
      const std::uint64_t at = v2.l1_table_offset.raw() + i * 8;
      const bool vacant = std::ranges::any_of(open, [&](const Vacancy& v) { return v.place.offset == at; });
      if ((draft_.word(at) == 0 || vacant) && !draft_.awaits(at))
        places.push_back({.offset = at, .l1 = true, .l1_index = i, .table = v2.l1_table_offset.raw()});
    }
    if (places.size() != lost.size()) return {};
    for (std::size_t i = 0; i < places.size(); ++i) {
      const std::uint64_t index = places[i].l1_index;
      const findings::GuestRange guest{base::GuestOffset{index * g_.span()},
                                       std::min(g_.span(), v2.size - index * g_.span()), ""};
      if (auto done = put(
              "refcount/leak-holds-table"_rule, put_table, places[i], lost[i]->cluster << g_.cluster_bits(),
              {.where = fmt::format("l1[{}]", index),
               .guest = {guest},
               .evidence =
                   "there are as many lost tables as entries that lead nowhere: in the order of the file"});
          !done)
        return done;
    }
    return {};
  }

  // --- data clusters

  struct Spot {                // an entry that a lost cluster may belong to
    std::uint64_t offset = 0;  // of the entry's word
    unsigned sides = 0;        // neighbours in the table that are its neighbours in the file
    std::string where;
    findings::GuestRange guest;
  };

  // For each lost cluster the entries beside those that lead to its neighbours in the file.
  void find_spots(std::span<const Vacancy> open) {
    std::unordered_map<std::uint64_t, std::uint64_t>
        wanted;  // neighbours of lost clusters, and how they are used
    std::unordered_set<std::uint64_t> lost(leaks_.begin(), leaks_.end());
    for (const auto cluster : leaks_) {
      if (!lost.contains(cluster - 1)) wanted[cluster - 1] |= 1;
      if (!lost.contains(cluster + 1)) wanted[cluster + 1] |= 2;
    }
    std::unordered_set<std::uint64_t> vacant;
    for (const auto& v : open)
      if (!v.cut) vacant.insert(v.place.offset);
    for_each_table(draft_, [&](const L2Table& table) {
      for (std::uint64_t i = 0; i < g_.l2_entries(); ++i) {
        const format::L2Entry entry{table.word(g_, i)};
        if (entry.compressed() || entry.offset().raw() == 0 || !g_.aligned(entry.offset())) continue;
        const auto found = wanted.find(entry.offset().raw() >> g_.cluster_bits());
        // What may be wrong itself is no witness.
        if (found == wanted.end() || vacant.contains(table.offset + i * g_.l2_entry_size())) continue;
        // A run of lost clusters behind (or before) this one, entry by entry.
        for (const bool behind : {true, false}) {
          if ((found->second & (behind ? 1 : 2)) == 0) continue;
          std::uint64_t cluster = found->first;
          for (std::uint64_t j = i;;) {
            if (behind ? ++j == g_.l2_entries() : j-- == 0) break;
            behind ? ++cluster : --cluster;
            if (!lost.contains(cluster)) break;
            const std::uint64_t at = table.offset + j * g_.l2_entry_size();
            if (table.word(g_, j) != 0 && !vacant.contains(at)) break;
            note(cluster, at, table, j);
          }
        }
      }
    });
  }
  void note(std::uint64_t cluster, std::uint64_t at, const L2Table& table, std::uint64_t entry) {
    auto& spots = spots_[cluster];
    const auto known = std::ranges::find(spots, at, &Spot::offset);
    if (known != spots.end()) {
      ++known->sides;
      return;
    }
    spots.push_back({.offset = at,
                     .sides = 1,
                     .where = fmt::format("{}l1[{}].l2[{}]", table.l1.prefix, table.l1_index, entry),
                     .guest = {base::GuestOffset{table.l1_index * g_.span() + (entry << g_.cluster_bits())},
                               g_.cluster_size(), table.l1.id}});
  }

  Remedied put_clusters() {
    if (draft_.header().external_data_file() || draft_.verdict().inferred) return {};
    auto open = vacancies(draft_, false, true);
    std::erase_if(open, [&](const Vacancy& v) { return draft_.chosen(v.place.offset); });
    if (open.empty() && draft_.verdict().summary.of("refcount/leak"_rule).findings == 0) return {};
    auto lost = lost_clusters(draft_, Counted::once);
    if (!lost) return std::unexpected(lost.error());
    leaks_ = std::move(*lost);
    std::erase_if(leaks_, [&](std::uint64_t cluster) { return was_snapshot_table(draft_, cluster); });
    if (leaks_.empty()) return {};
    find_spots(open);
    std::vector<std::uint64_t> rest;
    // Until no cluster has a single place any more: each that gets one narrows the others' choice.
    const auto vacancy_at = [&](std::uint64_t offset) {
      return std::ranges::find_if(open, [&](const Vacancy& v) { return !v.cut && v.place.offset == offset; });
    };
    std::unordered_set<std::uint64_t> used;
    for (const auto cluster : leaks_) {
      const std::uint64_t offset = cluster << g_.cluster_bits();
      // Entries that share a cluster are alike: the damaged one of them can't be told by what it says. Of those
      // whose cluster was cut off with the end of the file one or the other differs by one bit by chance.
      const auto like = std::ranges::find_if(open, [&](const Vacancy& v) {
        return !v.shared && !v.cut && !used.contains(v.place.offset) && !resembles(v.word, offset).empty();
      });
      const Vacancy* vacancy = like == open.end() ? nullptr : &*like;
      std::string evidence = vacancy != nullptr ? resembles(vacancy->word, offset) : "";
      if (vacancy == nullptr) {
        const Spot* best = nullptr;
        bool several = false;
        for (const auto& spot : spots_[cluster]) {
          const auto at = vacancy_at(spot.offset);
          // An empty entry says nothing by itself: both neighbours must.
          if (used.contains(spot.offset) || (at == open.end() && (spot.sides < 2 || draft_.header().dirty())))
            continue;
          several = best != nullptr && best->sides == spot.sides;
          if (best == nullptr || spot.sides > best->sides) best = &spot;
        }
        if (best != nullptr && !several) {
          evidence = best->sides == 2 ? "the entries before and behind it lead to its neighbours in the file"
                                      : "the entry beside it leads to its neighbour in the file";
          if (const auto at = vacancy_at(best->offset); at != open.end()) {
            vacancy = &*at;
          } else {
            used.insert(best->offset);
            if (auto done = put("refcount/leak"_rule, put_cluster, {.offset = best->offset}, offset,
                                {.where = best->where, .guest = {best->guest}, .evidence = evidence});
                !done)
              return done;
            continue;
          }
        }
      }
      if (vacancy == nullptr) {
        rest.push_back(cluster);
        continue;
      }
      used.insert(vacancy->place.offset);
      if (auto done = restore(*vacancy, offset, std::move(evidence)); !done) return done;
    }
    std::erase_if(open, [&](const Vacancy& v) { return used.contains(v.place.offset) || v.shared || v.cut; });
    if (rest.size() == 1 && open.size() == 1)
      return restore(open.front(), rest.front() << g_.cluster_bits(),
                     "it is the only lost cluster, and this the only entry that leads nowhere");
    return {};
  }
  Remedied restore(const Vacancy& v, std::uint64_t offset, std::string evidence) {
    return put(v.rule, put_cluster, v.place, offset,
               {.where = v.where, .guest = v.guest, .evidence = std::move(evidence)});
  }

  Draft& draft_;
  const format::Geometry g_;
  std::vector<std::uint64_t> leaks_;
  std::unordered_map<std::uint64_t, std::vector<Spot>> spots_;
};

}  // namespace

Remedied reattach(Draft& draft) {
  if (!draft.verdict().geometry || !draft.verdict().complete) return {};
  return Reattachment(draft).run();
}

}  // namespace cowvet::repair
