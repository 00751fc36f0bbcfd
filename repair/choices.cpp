// What a person has decided: which entry of a table leads to what, whose a shared cluster is, and which entry
// is to be left as it is. Promises: a choice is followed as it was given or refused with the reason; nothing
// that could be read is replaced without consent to a loss; what an entry is led to belonged to nobody else.
#include <algorithm>

#include <fmt/format.h>

#include "analyzer/census.hpp"
#include "repair/remedies.hpp"
#include "repair/tables.hpp"
#include "repair/vacancies.hpp"

namespace cowvet::repair {

using namespace findings::literals;
using findings::Consent;

namespace {

constexpr std::uint64_t all_subclusters = 0xffffffffU;  // of an extended entry: all are allocated
constexpr std::string_view follow = "lead the entry where it was chosen to lead";

class Choosing {
 public:
  Choosing(Draft& draft, const Choice& choice) : draft_(draft), g_(draft.geometry()), choice_(choice) {}

  Remedied run() {
    const auto found = draft_.entry(choice_.entry);
    if (!found)
      return refuse(
          "no layer has such an entry, or its table can't be reached; entries are called as in "
          "l1[3], l1[3].l2[17] or snapshot[0].l1[3]");
    place_ = *found;
    if (choice_.entry != prefix() + name())
      return refuse(fmt::format("there is no such entry; is {}{} meant?", prefix(), name()));
    // Nobody would see it, and it may not even be a part of the table.
    if (guest_begin() >= layer_end()) return refuse("the disk ends before");
    if (draft_.contested(place_)) return refuse("something else claims the place of its table");
    draft_.choose(place_.offset);
    if (!choice_.to) {
      draft_.await(place_.offset);
      draft_.keep_entry(place_.offset);
      if (!place_.l1 && g_.extended_l2()) draft_.keep_entry(place_.offset + 8);
      return {};
    }
    const std::uint64_t to = *choice_.to, word = draft_.word(place_.offset);
    const bool compressed = !place_.l1 && format::L2Entry{word}.compressed();
    const bool extended = !place_.l1 && g_.extended_l2();
    const std::uint64_t parts = extended ? draft_.word(place_.offset + 8) : 0;
    names_it_ = !compressed && (word & format::entry_offset_mask) == to;
    // It does, or was led there before.
    if (to != 0 && names_it_ && (word & ~format::copied_flag) == to &&
        (!extended || parts == all_subclusters))
      return {};
    if (auto fits = can_be_led(to); !fits) return fits;
    const auto open = vacancies(draft_, place_.l1, true);
    const auto vacancy =
        std::ranges::find(open, place_.offset, [](const Vacancy& v) { return v.place.offset; });
    const bool leads_nowhere = vacancy != open.end() && !vacancy->shared;
    const bool replaces = !leads_nowhere && (word != 0 || parts != 0);
    if (replaces && !draft_.allows(Consent::lossy))
      return refuse("the entry leads to something that can be read; --level all --allow-loss gives that up");
    const auto rule = vacancy != open.end() ? vacancy->rule
                      : place_.l1           ? "refcount/leak-holds-table"_rule
                                            : "refcount/leak"_rule;
    auto& action =
        draft_.act_at(rule, replaces ? Consent::lossy : Consent::choice, follow,
                      {.where = choice_.entry, .guest = guest(), .evidence = "chosen by the user"});
    if (extended)
      if (auto done = draft_.put_word(action, place_.offset + 8, all_subclusters); !done) return done;
    return draft_.put_word(action, place_.offset, to | format::copied_flag);
  }

 private:
  [[nodiscard]] Remedied refuse(std::string_view why) const {
    return base::refuse(fmt::format("the choice '{}={}' can't be followed: {}", choice_.entry,
                                    choice_.to ? fmt::format("{:#x}", *choice_.to) : "keep", why));
  }

  [[nodiscard]] Remedied can_be_led(std::uint64_t to) const {
    if (!place_.l1 && draft_.header().external_data_file())
      return refuse("the data is in another file, where each cluster has its place");
    if (to == 0 || !g_.aligned(base::HostOffset{to}))
      return refuse(fmt::format("clusters begin at multiples of {}", g_.cluster_size()));
    if (to >= draft_.image().size()) return refuse("the file ends before");
    if (place_.l1 && !l2_looks(draft_.bytes(to, g_.cluster_size()), g_, draft_.image().size()).is_one())
      return refuse("the cluster there does not look like an L2 table");
    // What the end of the file took of the table could be read as nothing before; a reader may refuse it whole now.
    if (place_.l1 && to + g_.cluster_size() > draft_.image().size() && !draft_.allows(Consent::lossy) &&
        guest_begin() + ((draft_.image().size() - to) / g_.l2_entry_size() << g_.cluster_bits()) <
            layer_end())
      return refuse(
          "the file ends within that table; --level all --allow-loss gives up what is missing of it");
    if (place_.l1 && another_layers(to)) return {};
    if (names_it_) return {};
    const auto owner = owner_of(to >> g_.cluster_bits());
    if (!owner) return std::unexpected(owner.error());
    if (*owner != analyzer::Kind::free)
      return refuse(fmt::format("the cluster there is in use as {}", analyzer::to_string(*owner)));
    return {};
  }

  // Whether another layer has this table at the same place of its disk: layers share what is the same in both.
  [[nodiscard]] bool another_layers(std::uint64_t to) const {
    return std::ranges::any_of(l1_tables(draft_), [&](const L1Table& l1) {
      return l1.offset != place_.table && place_.l1_index < l1.entries &&
             (draft_.word(l1.offset + place_.l1_index * 8) & format::entry_offset_mask) == to;
    });
  }

  [[nodiscard]] base::Result<analyzer::Kind> owner_of(std::uint64_t cluster) const {
    auto kind = analyzer::Kind::free;
    const analyzer::Options how{.jobs = draft_.options().jobs, .assume_qcow2 = draft_.options().assume_qcow2};
    const analyzer::CensusUse use{.owned =
                                      [&](std::uint64_t first, std::uint64_t count, analyzer::Label label) {
                                        if (first <= cluster && cluster - first < count) kind = label.kind;
                                      },
                                  .wrong = [](const auto&) {}};
    if (auto done = analyzer::take_census(draft_.image(), how, draft_.progress(), use); !done)
      return std::unexpected(done.error());
    return kind;
  }

  [[nodiscard]] std::string prefix() const { return choice_.entry.substr(0, choice_.entry.find("l1[")); }
  [[nodiscard]] std::string name() const {
    return place_.l1 ? fmt::format("l1[{}]", place_.l1_index)
                     : fmt::format("l1[{}].l2[{}]", place_.l1_index, place_.l2_index);
  }
  [[nodiscard]] std::uint64_t guest_begin() const {
    return place_.l1_index * g_.span() + (place_.l1 ? 0 : place_.l2_index << g_.cluster_bits());
  }
  // Where the layer's disk ends, or its VM state where it has one.
  [[nodiscard]] std::uint64_t layer_end() const {
    const auto tables = l1_tables(draft_);
    const auto l1 = std::ranges::find(tables, prefix(), &L1Table::prefix);
    if (l1 == tables.end()) return 0;
    return mapped_end(*l1, g_);
  }
  // What all layers show that have the table which the entry is in at the same place of their disks.
  [[nodiscard]] std::vector<findings::GuestRange> guest() const {
    std::vector<findings::GuestRange> ranges;
    const std::uint64_t begin = guest_begin(), length = place_.l1 ? g_.span() : g_.cluster_size();
    for (const auto& l1 : l1_tables(draft_)) {
      const auto table = [&] {
        return place_.l1_index < l1.entries
                   ? draft_.word(l1.offset + place_.l1_index * 8) & format::entry_offset_mask
                   : 0;
      };
      if (place_.l1 ? l1.offset != place_.table : table() != place_.table) continue;
      ranges.push_back(
          {base::GuestOffset{begin}, begin < l1.disk ? std::min(length, l1.disk - begin) : length, l1.id});
    }
    return ranges;
  }

  Draft& draft_;
  const format::Geometry g_;
  const Choice& choice_;
  EntryPlace place_;
  bool names_it_ = false;  // it names the cluster already: it is said to be its owner, or to show all of it
};

}  // namespace

Remedied take_choices(Draft& draft) {
  if (!draft.verdict().geometry) return {};
  const auto& choices = draft.options().choices;
  for (auto choice = choices.begin(); choice != choices.end(); ++choice)
    if (std::find_if(choice + 1, choices.end(),
                     [&](const Choice& other) { return other.entry == choice->entry; }) != choices.end())
      return base::refuse(fmt::format("two choices were made for '{}': make one", choice->entry));
  for (const auto& choice : choices)
    if (auto done = Choosing(draft, choice).run(); !done) return done;
  return {};
}

}  // namespace cowvet::repair
