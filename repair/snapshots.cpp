// The snapshot table, written anew beside the old one, with the snapshots that the header does not count any more and
// without the entries that can't be used. Promises: the header changes in one write; an entry keeps all its
// extra data; a snapshot is given up with consent only.
#include <algorithm>
#include <ranges>
#include <set>

#include <fmt/format.h>

#include "analyzer/info.hpp"
#include "format/snapshot.hpp"
#include "repair/owned_clusters.hpp"
#include "repair/remedies.hpp"
#include "repair/snapshot_entries.hpp"
#include "repair/snapshot_table.hpp"

namespace cowvet::repair {

using namespace findings::literals;
using base::HostOffset;
using findings::Consent;
using findings::RuleId;

namespace {

constexpr std::string_view take_again = "take the lost snapshot into the snapshot table again";
constexpr std::string_view complete = "store the fields that version 3 demands";
constexpr std::string_view new_id = "give the snapshot an id of its own";
constexpr std::string_view recount_snapshots = "count the snapshots that there are";
constexpr std::string_view drop = "give up the snapshot, whose L1 table can't be found";
constexpr std::string_view move = "give the snapshot a copy of its L1 table that nothing lies over";
constexpr std::string_view lead_to_l1 = "lead the snapshot to the L1 table that was found";

constexpr RuleId lost_table[] = {"snapshot/table-offset-unaligned"_rule, "snapshot/table-offset-range"_rule,
                                 "snapshot/table-past-eof"_rule,         "snapshot/count-limit"_rule,
                                 "header/snapshot-pointer-pair"_rule,    "snapshot/entry-bounds"_rule};
constexpr RuleId lost_l1[] = {"snapshot/l1-offset-unaligned"_rule, "snapshot/l1-offset-zero"_rule,
                              "snapshot/l1-past-eof"_rule,         "snapshot/l1-size-limit"_rule,
                              "snapshot/l1-size-zero"_rule,        "overlap/snapshot-l1"_rule};

class Snapshots {
 public:
  explicit Snapshots(Draft& draft) : draft_(draft), g_(draft.geometry()) {
    for (auto& s : analyzer::read_snapshots(draft.image(), draft.header()))
      if (plausible(s)) listed_.push_back(std::move(s));
  }

  Remedied run() {
    if (auto done = find_l1_tables(); !done) return done;
    if (auto done = move_apart(); !done) return done;
    bool changed = complete_extra();
    changed = renumber() || changed;
    changed = drop_unusable() || changed;
    changed = take_lost() || changed;
    changed = take_entries() || changed;
    changed = take_tables() || changed;
    changed = count_anew() || changed;
    return changed ? store_snapshots(draft_, draft_.last(), listed_) : Remedied{};
  }

 private:
  [[nodiscard]] bool plausible(const format::Snapshot& s) const {
    return s.entry.l1_table_offset.raw() != 0 || s.entry.l1_size != 0 || !s.id.empty();
  }

  // Whether the table can't be what the header says.
  [[nodiscard]] bool concerned() const {
    return draft_.any("snapshot/count-mismatch"_rule) ||
           std::ranges::any_of(lost_table, [&](RuleId rule) { return draft_.any(rule); }) ||
           std::ranges::any_of(lost_l1, [&](RuleId rule) { return draft_.any(rule); });
  }
  // What was overwritten in front of them hides entries that are whole.
  bool take_entries() {
    bool changed = false;
    if (listed_.size() >= draft_.header().v2.nb_snapshots || !concerned()) return false;
    for (auto& s : entries_behind_damage(draft_)) {
      const bool known = std::ranges::any_of(
          listed_, [&](const auto& other) { return other.entry.l1_table_offset == s.entry.l1_table_offset; });
      if (known || draft_.abandoned(s.entry.l1_table_offset.raw()) ||
          listed_.size() >= draft_.header().v2.nb_snapshots)
        continue;
      const Place place{
          .where = fmt::format("snapshot '{}'", s.id),
          .guest = {{base::GuestOffset{0}, s.disk_size_bytes().value_or(draft_.header().v2.size), s.id}},
          .evidence = "its entry stands behind one that was overwritten, and is whole"};
      if (draft_.may_act("snapshot/lost"_rule, Consent::choice, take_again, place) == nullptr) continue;
      listed_.push_back(std::move(s));
      changed = true;
    }
    return changed;
  }

  // Snapshots whose L1 tables are elsewhere: when one is lost and one snapshot has none, they belong together.
  Remedied find_l1_tables() {
    std::vector<std::pair<RuleId, const findings::Finding*>> without;
    std::set<std::size_t> seen;
    for (const auto rule : lost_l1)
      for (const auto& f : draft_.found(rule))
        if (const auto index = index_in(f, "snapshot");
            index && *index < listed_.size() && seen.insert(*index).second)
          without.emplace_back(rule, &f);
    std::vector<const analyzer::Orphan*> tables;
    for (const auto& orphan : draft_.verdict().orphans)
      if (orphan.is_l1 && orphan.where_from.empty()) tables.push_back(&orphan);
    if (without.size() != 1 || tables.size() != 1) return {};
    const auto [rule, f] = without.front();
    auto& s = listed_[*index_in(*f, "snapshot")];
    const std::uint64_t disk = s.disk_size_bytes().value_or(draft_.header().v2.size);
    const std::uint64_t entries = g_.l1_entries(disk);
    auto place = place_from(*f, "it is the only lost L1 table, and this the only snapshot without one");
    place.guest = {{base::GuestOffset{0}, disk, s.id}};
    if (draft_.may_act(rule, Consent::choice, lead_to_l1, std::move(place)) == nullptr) {
      awaited_.insert(*index_in(*f, "snapshot"));
      return {};
    }
    draft_.abandon(s.entry.l1_table_offset.raw());
    s.entry.l1_table_offset = HostOffset{tables.front()->cluster << g_.cluster_bits()};
    if (s.entry.l1_size == 0 ||
        std::uint64_t{s.entry.l1_size} > std::max(entries, std::uint64_t{1}) + (1ULL << 16))
      s.entry.l1_size = static_cast<std::uint32_t>(entries);
    found_ = true;
    moved_.insert(*index_in(*f, "snapshot"));
    return {};
  }

  bool complete_extra() {
    bool changed = std::exchange(found_, false);
    for (const auto& f : draft_.found("snapshot/extra-too-small"_rule)) {
      const auto index = index_in(f, "snapshot");
      if (!index || *index >= listed_.size()) continue;
      auto& s = listed_[*index];
      if (draft_.may_act(f.rule, Consent::lossless, complete, place_from(f)) == nullptr) continue;
      format::SnapshotExtra extra{.vm_state_size_large = s.vm_state_size(),
                                  .disk_size_bytes = s.disk_size_bytes().value_or(draft_.header().v2.size)};
      const auto bytes = format::encode(extra);
      constexpr std::size_t demanded = 16;
      s.extra.assign(bytes.begin(), bytes.begin() + demanded);
      changed = true;
    }
    for (const auto& f : draft_.found("snapshot/extra-misstated"_rule)) {
      // The check read the entry with another size; as it is stored, it would be read wrongly.
      draft_.withhold(f.rule, Consent::none, complete, place_from(f));
    }
    return changed;
  }

  // Of snapshots with the same id the first keeps it.
  bool renumber() {
    bool changed = false;
    for (const auto& f : draft_.found("snapshot/id-duplicate"_rule)) {
      const auto index = index_in(f, "snapshot");
      if (!index || *index >= listed_.size()) continue;
      std::uint64_t number = listed_.size();
      const auto taken = [&] {
        return std::ranges::any_of(listed_, [&](const auto& s) { return s.id == std::to_string(number); });
      };
      while (taken()) ++number;
      auto place = place_from(f, fmt::format("it gets the id {}, which no other one has", number));
      if (draft_.may_act(f.rule, Consent::choice, new_id, std::move(place)) == nullptr) continue;
      listed_[*index].id = std::to_string(number);
      changed = true;
    }
    return changed;
  }

  bool drop_unusable() {
    std::set<std::size_t> gone;
    for (const auto rule : lost_l1)
      for (const auto& f : draft_.found(rule)) {
        const auto index = index_in(f, "snapshot");
        if (!index || *index >= listed_.size() || awaited_.contains(*index) || usable(listed_[*index]))
          continue;
        if (draft_.may_act(rule, Consent::lossy, drop, place_from(f)) != nullptr) gone.insert(*index);
      }
    for (const auto index : std::views::reverse(gone)) {
      const auto dropped = listed_.begin() + static_cast<std::ptrdiff_t>(index);
      draft_.abandon(dropped->entry.l1_table_offset.raw());
      listed_.erase(dropped);
    }
    return !gone.empty();
  }
  [[nodiscard]] bool usable(const format::Snapshot& s) const {
    const auto l1 = s.entry.l1_table_offset;
    return l1.raw() != 0 && g_.aligned(l1) && s.entry.l1_size != 0 &&
           s.entry.l1_size <= format::limits::max_l1_entries &&
           l1.raw() + std::uint64_t{s.entry.l1_size} * 8 <= draft_.image().size() &&
           (!draft_.any("overlap/snapshot-l1"_rule) ||
            l1_looks(draft_.image(), g_, l1, s.entry.l1_size).is_one());
  }

  // An L1 table that another structure lies over, and that reads as one all the same, gets a place of its own.
  Remedied move_apart() {
    const RuleId rule = "overlap/snapshot-l1"_rule;
    for (const auto& f : draft_.found(rule)) {
      const auto index = index_in(f, "snapshot");
      if (!index || *index >= listed_.size() || !draft_.allows(Consent::choice)) continue;
      auto& s = listed_[*index];
      if (!usable(s) || !moved_.insert(*index).second) continue;
      const std::uint64_t length = std::uint64_t{s.entry.l1_size} * 8;
      const auto room = draft_.take(g_.clusters(length));
      if (!room) continue;
      auto* action = draft_.may_act(rule, Consent::choice, move, place_from(f));
      if (auto done = draft_.copy(*action, s.entry.l1_table_offset.raw(), *room, length); !done) return done;
      draft_.abandon(s.entry.l1_table_offset.raw());
      s.entry.l1_table_offset = HostOffset{*room};
      found_ = true;
    }
    return {};
  }

  bool take_lost() {
    bool changed = false;
    for (const auto& lost : draft_.verdict().lost_snapshots) {
      if (std::ranges::any_of(listed_,
                              [&](const auto& s) {
                                return s.entry.l1_table_offset == lost.data.entry.l1_table_offset ||
                                       (s.id == lost.data.id && s.name == lost.data.name);
                              }) ||
          draft_.abandoned(lost.data.entry.l1_table_offset.raw()))
        continue;
      const Place place{
          .where = fmt::format("snapshot@{:#x}", lost.at.raw()),
          .guest = {{base::GuestOffset{0}, lost.data.disk_size_bytes().value_or(draft_.header().v2.size),
                     lost.data.id}},
          .evidence = "its L1 table is counted as used and has no other owner"};
      if (draft_.may_act("snapshot/lost"_rule, Consent::choice, take_again, place) == nullptr) continue;
      listed_.push_back(lost.data);
      changed = true;
    }
    if (changed)
      std::ranges::stable_sort(listed_, {},
                               [](const auto& s) { return std::pair(s.entry.date_sec, s.entry.date_nsec); });
    return changed;
  }

  // Snapshots whose entries are gone, by their L1 tables: names and times are lost, the disks are not.
  bool take_tables() {
    bool changed = false;
    for (const auto& orphan : draft_.verdict().orphans) {
      const HostOffset at{orphan.cluster << g_.cluster_bits()};
      const bool listed =
          std::ranges::any_of(listed_, [&](const auto& s) { return s.entry.l1_table_offset == at; });
      if (!orphan.is_l1 || !orphan.where_from.empty() || listed ||
          listed_.size() >= draft_.header().v2.nb_snapshots || !concerned())
        continue;
      const std::uint64_t disk = draft_.header().v2.size;
      auto s = new_snapshot(draft_, listed_, "recovered", at, g_.l1_entries(disk), disk);
      const Place place{
          .where = fmt::format("cluster[{}]", orphan.cluster),
          .guest = {{base::GuestOffset{0}, disk, s.id}},
          .evidence = fmt::format(
              "it holds a lost L1 table, and {} of {} snapshots are missing; it is called '{}'",
              draft_.header().v2.nb_snapshots - listed_.size(), draft_.header().v2.nb_snapshots, s.name)};
      if (draft_.may_act("snapshot/lost"_rule, Consent::choice, take_again, place) == nullptr) continue;
      listed_.push_back(std::move(s));
      changed = true;
    }
    return changed;
  }

  // The header's number or offset is wrong, and nothing (more) is lost: then the table is what could be read of it.
  bool count_anew() {
    bool changed = false;
    for (const auto& f : draft_.found("snapshot/count-mismatch"_rule))
      changed =
          draft_.may_act(f.rule, Consent::choice, recount_snapshots, place_from(f, f.detail)) != nullptr ||
          changed;
    for (const auto rule : lost_table)
      for (const auto& f : draft_.found(rule))
        changed =
            draft_.may_act(rule, Consent::lossy, recount_snapshots, place_from(f)) != nullptr || changed;
    return changed;
  }

  Draft& draft_;
  const format::Geometry g_;
  std::vector<format::Snapshot> listed_;
  std::set<std::size_t> awaited_, moved_;
  bool found_ = false;
};

}  // namespace

Remedied mend_snapshots(Draft& draft) {
  if (!draft.verdict().geometry || draft.verdict().inferred) return {};
  return Snapshots(draft).run();
}

}  // namespace cowvet::repair
