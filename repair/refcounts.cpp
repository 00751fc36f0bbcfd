// 1. Which blocks can be believed follows from the findings: a block that lies where nothing may lie, or that holds
// something else, says nothing.
// 2. The owners of all clusters are counted once. In believed blocks the wrong refcounts are put right in
// place. For the others, blocks are made anew: what has owners is counted, and so is every cluster without an
// owner that is not empty, since nobody knows whether it is free: the next check looks into what it holds.
// 3. Blocks whose place is sound stay there; others, and a table that can't stay, get new space. One write of
// the header names a new table.
#include "format/refcounts.hpp"

#include <algorithm>
#include <map>
#include <set>

#include <fmt/format.h>

#include "analyzer/census.hpp"
#include "base/checked.hpp"
#include "repair/owned_clusters.hpp"
#include "repair/remedies.hpp"

namespace cowvet::repair {

using namespace findings::literals;
using analyzer::Label;
using analyzer::Mismatch;
using base::HostOffset;
using findings::Consent;
using findings::RuleId;

namespace {

constexpr std::string_view raise = "raise the refcount to the number of owners";
constexpr std::string_view lower = "lower the refcount to the number of owners";
constexpr std::string_view release = "free the cluster, which nothing refers to";
constexpr std::string_view forget = "count what is past the end of the file as free";
constexpr std::string_view rebuild = "make the refcount block anew from the owners";
constexpr std::string_view keep_counted =
    "count clusters that have content as used, until it is known whose it is";
constexpr std::string_view move_table = "make a new refcount table";
constexpr std::string_view widen = "make the refcounts wider";

constexpr RuleId table_rules[] = {"refcount/table-offset-unaligned"_rule, "refcount/table-offset-zero"_rule,
                                  "refcount/table-missing"_rule,          "refcount/table-too-large"_rule,
                                  "refcount/table-overflow"_rule,         "refcount/table-past-eof"_rule,
                                  "overlap/refcount-table"_rule};
constexpr RuleId overlap_rules[] = {"overlap/active-l1"_rule, "overlap/snapshot-table"_rule,
                                    "overlap/snapshot-l1"_rule, "overlap/bitmap-directory"_rule,
                                    "overlap/bitmap-table"_rule};
constexpr RuleId block_rules[] = {"refcount/table-entry-reserved"_rule, "refcount/block-unaligned"_rule,
                                  "refcount/block-past-eof"_rule,       "refcount/block-partial-eof"_rule,
                                  "refcount/block-shared"_rule,         "refcount/block-overlap"_rule,
                                  "refcount/block-implausible"_rule,    "refcount/coverage"_rule};
constexpr RuleId count_rules[] = {
    "refcount/zero-in-use"_rule,      "refcount/too-low"_rule,  "refcount/leak"_rule,
    "refcount/leak-holds-table"_rule, "refcount/too-high"_rule, "refcount/beyond-eof"_rule,
    "refcount/overflow"_rule,         "l1/entry-lost"_rule,     "snapshot/lost"_rule};

class Refcounts {
 public:
  // Lowers: whether refcounts may sink, where that is allowed.
  enum class Lowers : bool { no, yes };
  Refcounts(Draft& draft, Lowers lowers)
      : draft_(draft),
        lowers_(lowers),
        g_(draft.geometry()),
        order_(g_.refcount_order()),
        eof_(draft.image().size()),
        most_bytes_(most_bytes(draft.image())) {}

  Remedied run() {
    judge();
    if (auto done = count(); !done) return done;
    if (too_many_) {
      draft_.withhold(why_table_ ? *why_table_ : "refcount/coverage"_rule, Consent::none, rebuild,
                      {.where = "refcount_table",
                       .evidence = "it would take too many blocks, or a table that is too long"});
      return {};
    }
    for (auto& [index, block] : made_) count_unexplained(index, block.bytes);
    if (auto done = doubt_counts(); !done) return done;
    return store();
  }

 private:
  struct Made {  // a block that is made anew
    std::vector<std::byte> bytes;
    RuleId why;
  };

  [[nodiscard]] std::uint64_t entries_of(std::uint32_t order) const {
    return 1ULL << (g_.cluster_bits() + 3 - order);
  }
  [[nodiscard]] std::uint64_t block_of(std::uint64_t cluster) const {
    return cluster >> (g_.cluster_bits() + 3 - order_);
  }

  // What of the structures can stay where it is, and what it says.
  void judge() {
    for (const auto rule : table_rules)
      if (draft_.any(rule)) why_table_ = rule;
    // What else lies over the table is named by that structure's rule.
    for (const auto rule : overlap_rules)
      for (const auto& f : draft_.found(rule))
        if (std::ranges::any_of(f.owners, [](const auto& owner) { return owner.where == "refcount_table"; }))
          why_table_ = rule;
    // Not before what should not be shared has been parted.
    if (lowers_ == Lowers::yes && draft_.any("refcount/overflow"_rule) && draft_.header().has_v3()) {
      while (order_ < format::limits::max_refcount_order && most_owners() > max_of(order_)) ++order_;
      if (order_ != g_.refcount_order()) why_table_ = "refcount/overflow"_rule;
    }
    const auto& v2 = draft_.header().v2;
    if (!why_table_ || order_ != g_.refcount_order()) {
      const std::uint64_t words = (v2.refcount_table_clusters * g_.cluster_size()) / 8;
      const auto bytes = draft_.bytes(v2.refcount_table_offset.raw(), words * 8);
      const base::BigEndianTable<std::uint64_t> table(bytes);
      for (std::size_t i = 0; i < table.size(); ++i) blocks_.push_back(table[i]);
    }
    if (order_ != g_.refcount_order()) blocks_.clear();
    leave_what_is_no_table();
    for (std::uint64_t i = 0; i < blocks_.size(); ++i)
      if (blocks_[i] != 0 && !possible(blocks_[i])) distrust(i, "refcount/block-past-eof"_rule, false);
    for (const auto rule : block_rules)
      for (const auto& f : draft_.found(rule)) {
        constexpr std::string_view entry = "refcount_table[";
        const bool stays = rule == "refcount/block-implausible"_rule;
        if (std::string_view(f.where).starts_with(entry)) {
          distrust(std::stoull(f.where.substr(entry.size())), rule, stays);
        } else if (f.host) {  // several may name the place
          distrust_at(f.host->begin.raw(), rule, stays);
        }
      }
    leave_what_is_others();
  }
  // A cluster of data that the header takes for the table: nothing is written there.
  void leave_what_is_no_table() {
    const std::uint64_t begin = draft_.header().v2.refcount_table_offset.raw();
    const auto end = begin + blocks_.size() * 8;
    std::uint64_t good = 0, bad = 0;
    for (const auto entry : blocks_)
      if (entry != 0) ++(possible(entry) ? good : bad);
    if (bad <= good) return;
    for (const auto& f : draft_.found("l2/points-at-metadata"_rule))
      if (f.host && f.host->begin.raw() < end && begin < f.host->begin.raw() + f.host->length) {
        why_table_ = "refcount/block-past-eof"_rule;
        blocks_.clear();
        return;
      }
  }
  // A block may stand there, as far as the entry alone tells.
  [[nodiscard]] bool possible(std::uint64_t entry) const {
    const std::uint64_t place = entry & format::entry_offset_mask;
    return place == entry && place % g_.cluster_size() == 0 && place < eof_;
  }
  // A place that another structure claims as well, and whose bytes are no refcounts, is the other's: nothing
  // is written there.
  void leave_what_is_others() {
    const bool noise = most_are_wrong();
    for (const auto& f : draft_.found("l2/points-at-metadata"_rule))
      if (const auto entry = draft_.entry(f.where)) {
        const std::uint64_t place = draft_.word(entry->offset) & format::entry_offset_mask;
        if (noise) distrust_at(place, "refcount/block-overlap"_rule, false);
        for (const auto& [index, block] : made_)
          if (index < blocks_.size() && blocks_[static_cast<std::size_t>(index)] == place)
            blocks_[static_cast<std::size_t>(index)] = 0;
      }
    for (const auto& f : draft_.found("l1/points-at-metadata"_rule))
      if (const auto entry = draft_.entry(f.where)) {
        const std::uint64_t place = draft_.word(entry->offset) & format::entry_offset_mask;
        if (l2_looks(draft_.bytes(place, g_.cluster_size()), g_, eof_).is_one())
          distrust_at(place, "refcount/block-overlap"_rule, false);
      }
  }
  // More refcounts are wrong than damage to refcounts explains: what is read as a block may be data.
  [[nodiscard]] bool most_are_wrong() const {
    std::uint64_t wrong = 0;
    for (const auto rule : {"refcount/zero-in-use"_rule, "refcount/too-low"_rule, "refcount/too-high"_rule,
                            "refcount/leak"_rule})
      wrong += draft_.verdict().summary.of(rule).clusters;
    return wrong > draft_.verdict().statistics.allocated_clusters / 2;
  }
  void distrust_at(std::uint64_t place, RuleId rule, bool stays) {
    for (std::uint64_t i = 0; i < blocks_.size(); ++i)
      if (place != 0 && (blocks_[i] & format::entry_offset_mask) == place) distrust(i, rule, stays);
  }
  void distrust(std::uint64_t index, RuleId rule, bool stays) {
    made_.try_emplace(index, Made{.bytes = {}, .why = rule});
    if (!stays && index < blocks_.size()) blocks_[index] = 0;
  }
  // Bytes of new refcount blocks, which are held in memory. A file made to hurt may have its clusters so far
  // apart that each needs a block of its own; where they lie close, what the file holds is always enough, even
  // of holes: a cluster in use has an entry of 8 bytes, and no refcount is wider.
  [[nodiscard]] static std::uint64_t most_bytes(const storage::Device& image) {
    return std::min(128ULL << 20, (16ULL << 20) + image.allocated());
  }
  [[nodiscard]] static std::uint64_t max_of(std::uint32_t order) { return ~0ULL >> (64 - (1U << order)); }
  [[nodiscard]] std::uint64_t most_owners() const {
    std::uint64_t most = 0;
    for (const auto& f : draft_.found("refcount/overflow"_rule))
      if (const auto* expected = std::get_if<std::uint64_t>(&f.expected.v)) most = std::max(most, *expected);
    return most;
  }

  // Whether the block's refcounts can be read where they are.
  [[nodiscard]] bool believed(std::uint64_t index) const {
    return index < blocks_.size() && (blocks_[index] & format::entry_offset_mask) != 0 &&
           !made_.contains(index);
  }
  std::vector<std::byte>& made(std::uint64_t index) {
    const RuleId why = why_table_ ? *why_table_ : "refcount/coverage"_rule;
    auto& block = made_.try_emplace(index, Made{.bytes = {}, .why = why}).first->second;
    if (block.bytes.empty()) block.bytes.resize(static_cast<std::size_t>(g_.cluster_size()));
    return block.bytes;
  }
  void set_made(std::uint64_t cluster, std::uint64_t value) {
    const std::uint64_t index = block_of(cluster);
    if (index >= format::limits::max_refcount_table / 8 ||
        (!made_.contains(index) && made_.size() * g_.cluster_size() >= most_bytes_)) {
      too_many_ = true;
      return;
    }
    format::set_refcount(made(block_of(cluster)), order_, cluster & (entries_of(order_) - 1), value);
  }

  Remedied count() {
    const analyzer::Options how{.jobs = draft_.options().jobs, .assume_qcow2 = draft_.options().assume_qcow2};
    Remedied failed{};
    const analyzer::CensusUse use{
        .owned =
            [&](std::uint64_t first, std::uint64_t count, Label label) {
              for (std::uint64_t cluster = first; cluster < first + count; ++cluster)
                if (!believed(block_of(cluster)))
                  set_made(cluster, std::min<std::uint64_t>(label.refs, max_of(order_)));
            },
        .wrong =
            [&](const Mismatch& m) {
              for (std::uint64_t done = 0; done < m.count;) {
                const std::uint64_t first = m.first + done;
                const std::uint64_t index = block_of(first);
                const std::uint64_t end = std::min(m.first + m.count, (index + 1) * entries_of(order_));
                if (believed(index)) {
                  if (failed)
                    failed = mend(
                        index, {.first = first, .count = end - first, .stored = m.stored, .label = m.label});
                } else if (order_ != g_.refcount_order() && m.label.kind == analyzer::Kind::free &&
                           first * g_.cluster_size() < eof_) {
                  for (std::uint64_t c = first; c < end; ++c) set_made(c, 1);
                }
                done = end - m.first;
              }
            }};
    if (auto done = analyzer::take_census(draft_.image(), how, draft_.progress(), use); !done) return done;
    return failed;
  }

  // One stretch of wrong refcounts in a block that can be believed.
  Remedied mend(std::uint64_t index, const Mismatch& m) {
    const bool inside = m.first * g_.cluster_size() < eof_;
    const bool free = m.label.kind == analyzer::Kind::free;
    const RuleId rule = !inside                   ? "refcount/beyond-eof"_rule
                        : free                    ? "refcount/leak"_rule
                        : m.stored == 0           ? "refcount/zero-in-use"_rule
                        : m.stored < m.label.refs ? "refcount/too-low"_rule
                                                  : "refcount/too-high"_rule;
    const bool rises = m.stored < m.label.refs;
    if (m.stored == 0 && inside) doubted_.insert(index);
    if (!rises && lowers_ == Lowers::no) return {};
    if (m.label.refs > g_.max_refcount()) return {};  // widening was not possible
    Place place{.where = m.count == 1 ? fmt::format("cluster[{}]", m.first)
                                      : fmt::format("cluster[{}]..[{}]", m.first, m.first + m.count - 1)};
    const auto what = rises ? raise : !inside ? forget : free ? release : lower;
    const bool own = !rises && !free && raised_here(m);
    if (!rises && inside && !own) {
      const bool held = m.label.kind == analyzer::Kind::l2 && draft_.any("l1/entry-lost"_rule);
      if (draft_.doubtful() || held || draft_.spared(m.first, m.count)) {
        place.evidence = "it may be somebody's data: what is lost is looked for first";
        draft_.withhold(rule, Consent::none, what, std::move(place));
        return {};
      }
    }
    auto* action =
        draft_.may_act(rule, rises || own ? Consent::lossless : Consent::frees, what, std::move(place));
    if (action == nullptr) return {};
    if (rises)
      for (std::uint64_t c = m.first; c < m.first + m.count; ++c) draft_.note_raised(c, m.stored);
    if (index != index_) {
      index_ = index;
      block_ = draft_.bytes(blocks_[index] & format::entry_offset_mask, g_.cluster_size());
    }
    for (std::uint64_t c = m.first; c < m.first + m.count; ++c)
      format::set_refcount(block_, order_, c & (entries_of(order_) - 1), m.label.refs);
    // Written with each stretch, so that the bytes stand with their action: a stretch is within one block.
    const std::uint64_t from = ((m.first & (entries_of(order_) - 1)) << order_) / 8;
    const std::uint64_t to = ((((m.first + m.count - 1) & (entries_of(order_) - 1)) + 1) << order_);
    const std::uint64_t end = base::divide_up(to, 8);
    return draft_.put(
        *action, (blocks_[index] & format::entry_offset_mask) + from,
        std::span(block_).subspan(static_cast<std::size_t>(from), static_cast<std::size_t>(end - from)));
  }
  // What this repair itself raised too far, since entries shared clusters then that do not any more.
  [[nodiscard]] bool raised_here(const Mismatch& m) const {
    for (std::uint64_t c = m.first; c < m.first + m.count; ++c)
      if (!draft_.raised_above(c, m.label.refs)) return false;
    return true;
  }
  // Clusters that a block's bytes count as free though they have content, and no owner: they become counted.
  void count_unexplained(std::uint64_t index, std::vector<std::byte>& bytes) {
    if (order_ != g_.refcount_order()) return;  // the old refcounts were readable
    const std::uint64_t first = index * entries_of(order_);
    const std::uint64_t end = std::min(first + entries_of(order_), base::divide_up(eof_, g_.cluster_size()));
    if (first >= end) return;  // an entry of a damaged table, whose block would count nothing
    bytes.resize(static_cast<std::size_t>(g_.cluster_size()));
    std::vector<std::byte> content(static_cast<std::size_t>(g_.cluster_size()));
    for (std::uint64_t cluster = first; cluster < end;) {
      const auto extent = draft_.image().extent(cluster * g_.cluster_size());
      if (extent.hole && extent.end >= (cluster + 1) * g_.cluster_size()) {
        cluster = std::max(cluster + 1, extent.end / g_.cluster_size());
        continue;
      }
      if (format::refcount_at(bytes, order_, cluster - first) == 0) {
        std::ranges::fill(content, std::byte{0});
        (void)draft_.image().read(cluster * g_.cluster_size(), content);
        if (!base::all_zero(content)) format::set_refcount(bytes, order_, cluster - first, 1);
      }
      ++cluster;
    }
  }
  // A block that calls a cluster free which is in use can't be believed about the others either: what it calls free may
  // be a lost table. A dirty image's refcounts are out of date, and no more than that.
  Remedied doubt_counts() {
    if (draft_.header().has_v3() && draft_.header().dirty()) return {};
    for (const auto index : doubted_) {
      const std::uint64_t place = blocks_[static_cast<std::size_t>(index)] & format::entry_offset_mask;
      auto bytes = draft_.bytes(place, g_.cluster_size());
      const auto before = bytes;
      count_unexplained(index, bytes);
      if (bytes == before) continue;
      auto* action = draft_.may_act("refcount/zero-in-use"_rule, Consent::lossless, keep_counted,
                                    {.where = fmt::format("refcount_table[{}]", index),
                                     .evidence = "the block calls clusters free that are in use"});
      if (auto done = draft_.put(*action, place, bytes); !done) return done;
    }
    return {};
  }

  // New space that the blocks that are made anew need, and a table that can't stay or has too few entries.
  struct Room {
    std::uint64_t entries = 0;  // of the table
    std::uint64_t blocks = 0, table_clusters = 0;
    [[nodiscard]] std::uint64_t total() const { return blocks + table_clusters; }
  };
  [[nodiscard]] Room room_for_made() const {
    Room room{.entries =
                  std::max<std::uint64_t>(blocks_.size(), made_.empty() ? 1 : made_.rbegin()->first + 1)};
    for (const auto& [index, block] : made_)
      if (index >= blocks_.size() ||
          (blocks_[static_cast<std::size_t>(index)] & format::entry_offset_mask) == 0)
        ++room.blocks;
    // A little room, so that the next clusters don't need another table.
    if (why_table_ || room.entries > blocks_.size())
      room.table_clusters = base::divide_up((room.entries + room.blocks + 2) * 8, g_.cluster_size());
    return room;
  }
  // Makes the blocks that count the next clusters of the file; true when there were none.
  bool count_room(std::uint64_t clusters) {
    if (clusters == 0) return false;
    const std::uint64_t next = draft_.room_begins() >> g_.cluster_bits();
    bool any = false;
    for (std::uint64_t index = block_of(next); index <= block_of(next + clusters - 1); ++index) {
      if (believed(index) || made_.contains(index) || index >= format::limits::max_refcount_table / 8)
        continue;
      (void)made(index);
      any = true;
    }
    return any;
  }

  Remedied store() {
    std::erase_if(made_, [&](const auto& item) {
      const bool placed = item.first < blocks_.size() && blocks_[static_cast<std::size_t>(item.first)] != 0;
      return item.second.bytes.empty() || (base::all_zero(item.second.bytes) && !placed);
    });
    if (made_.empty() && !why_table_) return drop_entries();
    Room room = room_for_made();
    // The room's own blocks are made with the others: a table that was made without them would be left as scrap.
    constexpr unsigned most_turns = 8;
    for (unsigned turn = 0; turn < most_turns && count_room(room.total()); ++turn) room = room_for_made();
    if (blocks_.size() < room.entries) blocks_.resize(static_cast<std::size_t>(room.entries));
    const auto [entries, missing, table_clusters] = room;
    const bool new_table = table_clusters != 0;
    const std::uint64_t total = room.total();
    std::uint64_t space = 0;
    if (total != 0) {
      const auto taken = draft_.take(total);
      if (!taken) {
        const RuleId why = why_table_ ? *why_table_ : made_.begin()->second.why;
        draft_.withhold(why, Consent::lossy, new_table ? move_table : rebuild,
                        {.where = "refcount_table", .evidence = draft_.why_no_room()});
        return {};
      }
      space = *taken;
      for (std::uint64_t i = 0; i < total;
           ++i) {  // their own refcounts; what a block counts that stays comes in the next round
        const std::uint64_t cluster = space / g_.cluster_size() + i;
        if (made_.contains(block_of(cluster))) set_made(cluster, 1);
      }
    }
    for (auto& [index, block] : made_) {
      auto& entry = blocks_[static_cast<std::size_t>(index)];
      if ((entry & format::entry_offset_mask) == 0) {
        entry = space;
        space += g_.cluster_size();
      }
      auto* action = draft_.may_act(block.why, Consent::lossless, rebuild,
                                    {.where = fmt::format("refcount_table[{}]", index)});
      if (auto done = draft_.put(*action, entry, block.bytes); !done) return done;
      if (!new_table)
        if (auto done =
                draft_.put_word(*action, draft_.header().v2.refcount_table_offset.raw() + index * 8, entry);
            !done)
          return done;
    }
    return new_table ? store_table(space, table_clusters) : drop_entries();
  }
  // Entries that lead nowhere and count nothing.
  Remedied drop_entries() {
    const std::uint64_t table = draft_.header().v2.refcount_table_offset.raw();
    const auto bytes = draft_.bytes(table, blocks_.size() * 8);
    const base::BigEndianTable<std::uint64_t> stored(bytes);
    for (std::uint64_t i = 0; i < blocks_.size(); ++i) {
      const std::uint64_t at = table + i * 8;
      if (blocks_[i] != 0 || stored[static_cast<std::size_t>(i)] == 0) continue;
      auto* action = draft_.may_act("refcount/block-past-eof"_rule, Consent::lossless,
                                    "clear the refcount table's entry, which counts nothing",
                                    {.where = fmt::format("refcount_table[{}]", i)});
      if (auto done = draft_.put_word(*action, at, 0); !done) return done;
    }
    return {};
  }
  Remedied store_table(std::uint64_t place, std::uint64_t clusters) {
    std::vector<std::byte> bytes(static_cast<std::size_t>(clusters * g_.cluster_size()));
    for (std::size_t i = 0; i < blocks_.size(); ++i)
      base::store_be<std::uint64_t, 0>(std::span(bytes).subspan(i * 8).first<8>(), blocks_[i]);
    const RuleId why = why_table_ ? *why_table_ : "refcount/coverage"_rule;
    auto* action = draft_.may_act(why, Consent::lossless, order_ != g_.refcount_order() ? widen : move_table,
                                  {.where = "refcount_table"});
    if (auto done = draft_.put(*action, place, bytes); !done) return done;
    auto header = draft_.header();
    header.v2.refcount_table_offset = HostOffset{place};
    header.v2.refcount_table_clusters = static_cast<std::uint32_t>(clusters);
    auto v2 = format::encode(header.v2);
    if (auto done = draft_.put(*action, 0, v2); !done) return done;
    if (order_ == g_.refcount_order()) return {};
    header.v3.refcount_order = order_;
    return draft_.put(*action, format::disk_size<format::HeaderV2>, format::encode(header.v3));
  }

  Draft& draft_;
  const Lowers lowers_;
  const format::Geometry g_;
  std::uint32_t order_;  // of the refcounts as they will be
  const std::uint64_t eof_;
  const std::uint64_t most_bytes_;
  std::optional<RuleId> why_table_;    // a new table is needed
  std::vector<std::uint64_t> blocks_;  // the table's entries; 0: no block, or none that can stay
  std::map<std::uint64_t, Made> made_;
  bool too_many_ = false;            // blocks that would be needed
  std::set<std::uint64_t> doubted_;  // believed blocks that call something in use free
  std::uint64_t index_ = ~0ULL;      // the block at hand
  std::vector<std::byte> block_;
};

bool concerned(const Draft& draft) {
  const auto any = [&](auto& rules) {
    return std::ranges::any_of(rules,
                               [&](RuleId rule) { return draft.verdict().summary.of(rule).findings != 0; });
  };
  return any(table_rules) || any(block_rules) || any(count_rules);
}

}  // namespace

namespace {

Remedied mend(Draft& draft, Refcounts::Lowers lowers) {
  if (!draft.verdict().geometry || !concerned(draft)) return {};
  if (!draft.verdict().complete) {
    draft.withhold("refcount/incomplete"_rule, Consent::none, "put the refcounts right",
                   {.where = "refcount_table", .evidence = "not all owners could be counted"});
    return {};
  }
  return Refcounts(draft, lowers).run();
}

}  // namespace

Remedied raise_refcounts(Draft& draft) { return mend(draft, Refcounts::Lowers::no); }
Remedied mend_refcounts(Draft& draft) { return mend(draft, Refcounts::Lowers::yes); }

}  // namespace cowvet::repair
