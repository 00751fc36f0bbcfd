// Entries of the snapshot table one of whose sizes is wrong, and snapshots whose L1 table is counted or
// placed wrongly. Promises: one field of an entry is changed, and only where a single value makes the entry,
// and what follows it, read soundly.
#include "repair/snapshot_entries.hpp"

#include <algorithm>
#include <array>
#include <optional>

#include <fmt/format.h>

#include "analyzer/info.hpp"
#include "base/text.hpp"
#include "format/extensions.hpp"
#include "format/snapshot.hpp"
#include "repair/field_places.hpp"
#include "repair/l1_search.hpp"
#include "repair/owned_clusters.hpp"
#include "repair/remedies.hpp"

namespace cowvet::repair {

using namespace findings::literals;
using findings::Consent;
using findings::RuleId;

namespace {

constexpr std::string_view set_size = "store the size with which the snapshot table reads soundly";
constexpr std::string_view set_l1_size = "count the L1 entries that the snapshot needs";
constexpr std::string_view set_l1 = "lead the snapshot to the L1 table that was found";
constexpr std::uint64_t l1_at = place_of_field<&format::SnapshotEntry::l1_table_offset>();
constexpr std::uint64_t snapshot_l1_size_at = place_of_field<&format::SnapshotEntry::l1_size>();
constexpr std::uint64_t id_size_at = place_of_field<&format::SnapshotEntry::id_size>();
constexpr std::uint64_t snapshot_name_size_at = place_of_field<&format::SnapshotEntry::name_size>();
constexpr std::uint64_t extra_size_at = place_of_field<&format::SnapshotEntry::extra_data_size>();
constexpr std::uint64_t fixed_bytes = format::disk_size<format::SnapshotEntry>;
constexpr std::uint64_t most_table = 1U << 20;  // bytes that are looked at

struct Sizes {
  std::uint64_t extra = 0, id = 0, name = 0;
  [[nodiscard]] std::uint64_t all() const { return fixed_bytes + extra + id + name; }
  friend bool operator==(const Sizes&, const Sizes&) = default;
};

class Table {
 public:
  explicit Table(const Draft& draft) : draft_(draft), begin_(draft.header().v2.snapshots_offset.raw()) {
    const std::uint64_t eof = draft.image().size();
    if (begin_ != 0 && begin_ < eof) bytes_ = draft.bytes(begin_, std::min(eof - begin_, most_table));
  }
  [[nodiscard]] std::uint64_t place(std::uint64_t at) const { return begin_ + at; }
  [[nodiscard]] base::ConstBytes bytes(std::uint64_t at, std::uint64_t length) const {
    return std::span(bytes_).subspan(static_cast<std::size_t>(at), static_cast<std::size_t>(length));
  }
  [[nodiscard]] bool has(std::uint64_t at, std::uint64_t length) const {
    return at <= bytes_.size() && length <= bytes_.size() - at;
  }
  template <class Word>
  [[nodiscard]] Word word(std::uint64_t at) const {
    return base::load_be<Word, 0>(
        std::span(bytes_).subspan(static_cast<std::size_t>(at)).template first<sizeof(Word)>());
  }
  [[nodiscard]] Sizes stored(std::uint64_t at) const {
    return {.extra = word<std::uint32_t>(at + extra_size_at),
            .id = word<std::uint16_t>(at + id_size_at),
            .name = word<std::uint16_t>(at + snapshot_name_size_at)};
  }
  // What every writer stores in front of the variable part, but for the sizes.
  [[nodiscard]] bool entry_begins(std::uint64_t at) const {
    if (!has(at, fixed_bytes)) return false;
    const auto l1 = base::HostOffset{word<std::uint64_t>(at + l1_at)};
    constexpr std::uint32_t second = 1'000'000'000;
    return l1.raw() != 0 && draft_.geometry().aligned(l1) && l1.raw() < draft_.image().size() &&
           word<std::uint32_t>(at + snapshot_l1_size_at) <= format::limits::max_l1_entries &&
           word<std::uint32_t>(at + 20) < second;
  }
  // The entry, and that it ends where another one begins, or the table ends.
  [[nodiscard]] bool sound(std::uint64_t at, const Sizes& sizes, bool last) const {
    constexpr std::uint64_t most_extra = 1024;
    if (sizes.extra > most_extra || sizes.id == 0 || !has(at, sizes.all())) return false;
    if (draft_.header().has_v3() && sizes.extra < 16) return false;
    if (sizes.extra >= 16 && word<std::uint64_t>(at + fixed_bytes + 8) % 512 != 0) return false;
    const auto text = [&](std::uint64_t from, std::uint64_t length) {
      return base::plain_text(format::as_text(
          std::span(bytes_).subspan(static_cast<std::size_t>(from), static_cast<std::size_t>(length))));
    };
    const std::uint64_t id = at + fixed_bytes + sizes.extra, end = id + sizes.id + sizes.name;
    const std::uint64_t next = (end + 7) / 8 * 8;
    if (!text(id, sizes.id) || !text(id + sizes.id, sizes.name)) return false;
    for (std::uint64_t p = end; p < next && has(p, 1); ++p)
      if (bytes_[static_cast<std::size_t>(p)] != std::byte{0}) return false;
    if (!last) return entry_begins(next);
    return !has(next, 8) || word<std::uint64_t>(next) == 0;
  }
  // The sizes with one field other than stored with which the entry is sound; nothing when none or several are.
  [[nodiscard]] std::optional<Sizes> mended(std::uint64_t at, bool last) const {
    const auto old = stored(at);
    std::optional<Sizes> found;
    unsigned several = 0;
    const auto attempt = [&](const Sizes& sizes) {
      if (sizes == old || !sound(at, sizes, last)) return;
      several += found.has_value() && !(*found == sizes) ? 1U : 0U;
      found = sizes;
    };
    constexpr std::uint64_t longest = 1023, longest_id = 64;
    for (const std::uint64_t extra : {0U, 16U, 24U, 32U})
      attempt({.extra = extra, .id = old.id, .name = old.name});
    if (found) return several == 0 ? found : std::nullopt;
    for (std::uint64_t id = 1; id <= longest_id; ++id)
      attempt({.extra = old.extra, .id = id, .name = old.name});
    // A text can't be told from the one behind it: the id that is a number is right.
    if (found && several != 0) found = numeric(at, old, last);
    if (found) return found;
    several = 0;
    for (std::uint64_t name = 0; name <= longest; ++name)
      attempt({.extra = old.extra, .id = old.id, .name = name});
    return several == 0 ? found : std::nullopt;
  }

 private:
  // The longest id of digits only.
  [[nodiscard]] std::optional<Sizes> numeric(std::uint64_t at, const Sizes& old, bool last) const {
    std::optional<Sizes> found;
    const std::uint64_t id = at + fixed_bytes + old.extra;
    for (std::uint64_t length = 1; has(id, length); ++length) {
      const auto c = bytes_[static_cast<std::size_t>(id + length - 1)];
      if (c < std::byte{'0'} || c > std::byte{'9'}) break;
      if (const Sizes sizes{.extra = old.extra, .id = length, .name = old.name}; sound(at, sizes, last))
        found = sizes;
    }
    return found;
  }

  const Draft& draft_;
  std::uint64_t begin_;
  std::vector<std::byte> bytes_;
};

template <class Word>
Remedied put_number(Draft& draft, Action& action, std::uint64_t at, std::uint64_t value) {
  std::array<std::byte, sizeof(Word)> bytes{};
  base::store_be<Word, 0>(std::span(bytes), static_cast<Word>(value));
  return draft.put(action, at, bytes);
}

constexpr RuleId about_sizes[] = {"snapshot/entry-bounds"_rule,
                                  "snapshot/extra-misstated"_rule,
                                  "snapshot/extra-too-small"_rule,
                                  "snapshot/count-mismatch"_rule,
                                  "snapshot/id-text"_rule,
                                  "snapshot/id-empty"_rule,
                                  "snapshot/name-text"_rule,
                                  "snapshot/padding-nonzero"_rule,
                                  "snapshot/id-duplicate"_rule,
                                  "snapshot/table-past-eof"_rule,
                                  "snapshot/l1-offset-zero"_rule,
                                  "snapshot/l1-size-zero"_rule,
                                  "snapshot/l1-past-eof"_rule,
                                  "snapshot/l1-offset-unaligned"_rule,
                                  "snapshot/lost"_rule,
                                  "snapshot/l1-size-limit"_rule};

Remedied mend_sizes(Draft& draft) {
  const auto why = std::ranges::find_if(about_sizes, [&](RuleId rule) { return draft.any(rule); });
  if (why == std::end(about_sizes)) return {};
  const auto finding = draft.found(*why).front();
  const Table table(draft);
  std::uint64_t at = 0;
  const std::uint32_t count = draft.header().v2.nb_snapshots;
  for (std::uint32_t i = 0; i < count && i < format::limits::max_snapshots && table.entry_begins(at); ++i) {
    auto sizes = table.stored(at);
    if (!table.sound(at, sizes, i + 1 == count)) {
      const auto right = table.mended(at, i + 1 == count);
      if (!right) return {};
      auto* action = draft.may_act(
          *why, Consent::choice, set_size,
          {.where = fmt::format("snapshot[{}]", i),
           .guest = finding.guest,
           .evidence = fmt::format("extra data of {}, id of {} and name of {} bytes end where {}",
                                   right->extra, right->id, right->name,
                                   i + 1 == count ? "the table ends" : "another entry begins")});
      if (action == nullptr) return {};
      const std::uint64_t place = table.place(at);
      if (auto done = put_number<std::uint32_t>(draft, *action, place + extra_size_at, right->extra); !done)
        return done;
      if (auto done = put_number<std::uint16_t>(draft, *action, place + id_size_at, right->id); !done)
        return done;
      if (auto done = put_number<std::uint16_t>(draft, *action, place + snapshot_name_size_at, right->name);
          !done)
        return done;
      sizes = *right;
    }
    at = (at + sizes.all() + 7) / 8 * 8;
  }
  return {};
}

// Entries of the L1 table that the snapshot needs: for its disk, and for the VM state behind it.
std::uint64_t needed_entries(const Draft& draft, const format::Snapshot& s) {
  const auto& g = draft.geometry();
  const std::uint64_t disk = g.l1_entries(s.disk_size_bytes().value_or(draft.header().v2.size));
  return disk + g.l1_entries(s.vm_state_size());
}

constexpr RuleId about_l1[] = {"snapshot/l1-past-eof"_rule,    "snapshot/l1-size-limit"_rule,
                               "snapshot/l1-size-zero"_rule,   "overlap/snapshot-l1"_rule,
                               "snapshot/l1-offset-zero"_rule, "snapshot/l1-offset-unaligned"_rule};

const findings::Finding* about(const Draft& draft, std::span<const RuleId> rules, std::string_view where) {
  for (const auto rule : rules)
    for (const auto& f : draft.found(rule))
      if (std::string_view(f.where).starts_with(where)) return &f;
  return nullptr;
}

// A table without entries is no sign of damage, unless an L1 table was lost.
const findings::Finding* lost_table_for_empty(const Draft& draft, std::uint64_t offset,
                                              std::uint64_t entries) {
  const auto& orphans = draft.verdict().orphans;
  const auto lost = std::ranges::find_if(
      orphans, [](const analyzer::Orphan& o) { return o.is_l1 && o.where_from.empty(); });
  if (lost == orphans.end() || offset >= draft.image().size() ||
      !base::all_zero(draft.bytes(offset, entries * 8)))
    return nullptr;
  const auto told = draft.found("refcount/leak-holds-table"_rule);
  return told.empty() ? nullptr : &told.front();
}

Remedied mend_l1(Draft& draft) {
  const Table table(draft);
  std::uint64_t index = 0;
  for (const auto& s : analyzer::read_snapshots(draft.image(), draft.header())) {
    const std::string where = fmt::format("snapshot[{}].l1", index++);
    // What is no entry is not mended in place: other bytes may lie there.
    if (s.id.empty() || !base::plain_text(s.id) || !base::plain_text(s.name)) continue;
    const std::uint64_t place = table.place(s.position);
    const std::uint64_t needed = needed_entries(draft, s);
    const auto* wrong = about(draft, about_l1, where);
    const std::uint64_t offset = s.entry.l1_table_offset.raw();
    const auto* odd = about(draft, strange_entries(), where);
    if (wrong == nullptr && odd == nullptr && needed <= format::limits::max_l1_entries)
      odd = lost_table_for_empty(draft, offset, needed);
    if ((wrong == nullptr && odd == nullptr) || needed == 0 || needed > format::limits::max_l1_entries)
      continue;
    auto why = wrong != nullptr ? *wrong : *odd;
    why.guest = {{base::GuestOffset{0}, s.disk_size_bytes().value_or(draft.header().v2.size), s.id}};
    if (tables_behind(draft, offset, needed) != 0) {
      // The place is right: the number is not, when it makes the table reach over something else.
      if (s.entry.l1_size == needed || (wrong == nullptr && strange_behind(draft, where, needed) == nullptr))
        continue;
      auto* action = draft.may_act(why.rule, Consent::choice, set_l1_size,
                                   place_from(why, "with this number the table reads soundly"));
      if (action == nullptr) continue;
      if (auto done = put_number<std::uint32_t>(draft, *action, place + snapshot_l1_size_at, needed); !done)
        return done;
    } else if (const auto found = cut_off(draft, offset, needed) ? std::nullopt : search_l1(draft, needed)) {
      auto* action = draft.may_act(
          why.rule, Consent::choice, set_l1,
          place_from(why,
                     fmt::format("the cluster at {:#x} holds a table that names {} L2 tables, and nothing "
                                 "refers to it",
                                 found->offset, found->tables)));
      if (action == nullptr) continue;
      if (auto done = put_number<std::uint64_t>(draft, *action, place + l1_at, found->offset); !done)
        return done;
      if (s.entry.l1_size < needed || s.entry.l1_size > needed + (1U << 16))
        if (auto done = put_number<std::uint32_t>(draft, *action, place + snapshot_l1_size_at, needed); !done)
          return done;
      return {};  // the others are looked at once this one's tables have an owner
    }
  }
  return {};
}

}  // namespace

std::vector<format::Snapshot> entries_behind_damage(const Draft& draft) {
  std::vector<format::Snapshot> found;
  const Table table(draft);
  for (std::uint64_t at = 0; table.entry_begins(at) || table.has(at, fixed_bytes);) {
    if (!table.entry_begins(at) ||
        (!table.sound(at, table.stored(at), true) && !table.sound(at, table.stored(at), false))) {
      at += 8;
      continue;
    }
    const auto sizes = table.stored(at);
    const auto bytes = table.bytes(at, sizes.all());
    format::Snapshot s;
    s.position = at;
    s.entry = format::decode<format::SnapshotEntry>(bytes.first<fixed_bytes>());
    auto rest = bytes.subspan(fixed_bytes);
    const auto take = [&](std::uint64_t length) {
      const auto part = rest.first(static_cast<std::size_t>(length));
      rest = rest.subspan(static_cast<std::size_t>(length));
      return part;
    };
    const auto extra = take(sizes.extra);
    s.extra.assign(extra.begin(), extra.end());
    for (const auto b : take(sizes.id)) s.id.push_back(static_cast<char>(b));
    for (const auto b : take(sizes.name)) s.name.push_back(static_cast<char>(b));
    found.push_back(std::move(s));
    at = (at + sizes.all() + 7) / 8 * 8;
  }
  return found;
}

Remedied mend_snapshot_entries(Draft& draft) {
  if (!draft.verdict().geometry || draft.verdict().inferred || draft.header().v2.nb_snapshots == 0) return {};
  const auto writes = draft.writes();
  if (auto done = mend_sizes(draft); !done || draft.writes() != writes) return done;
  return mend_l1(draft);
}

}  // namespace cowvet::repair
