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
    draft_.choose(place_.offset);
    if (!choice_.to) {
      draft_.await(place_.offset);
      return {};
    }
    const std::uint64_t to = *choice_.to, word = draft_.word(place_.offset);
    const format::L2Entry as_l2{word};
    const bool compressed = !place_.l1 && as_l2.compressed();
    if (to != 0 && !compressed && (word & format::entry_offset_mask) == to)
      return {};  // it does, or was led there before
    if (auto fits = can_be_led(to); !fits) return fits;
    const auto open = vacancies(draft_, place_.l1, true);
    const auto vacancy =
        std::ranges::find(open, place_.offset, [](const Vacancy& v) { return v.place.offset; });
    const bool replaces = vacancy == open.end() && word != 0;
    if (replaces && !draft_.allows(Consent::lossy))
      return refuse("the entry leads to something that can be read; --level all --allow-loss gives that up");
    const auto rule = vacancy != open.end() ? vacancy->rule
                      : place_.l1           ? "refcount/leak-holds-table"_rule
                                            : "refcount/leak"_rule;
    auto& action =
        draft_.act_at(rule, replaces ? Consent::lossy : Consent::choice, follow,
                      {.where = choice_.entry, .guest = {guest()}, .evidence = "chosen by the user"});
    constexpr std::uint64_t all_subclusters = 0xffffffffU;
    if (!place_.l1 && g_.extended_l2() && (compressed || draft_.word(place_.offset + 8) == 0))
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
    if (place_.l1 && another_layers(to)) return {};
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

  [[nodiscard]] findings::GuestRange guest() const {
    const auto tables = l1_tables(draft_);
    const auto prefix = choice_.entry.substr(0, choice_.entry.find("l1["));
    const auto l1 = std::ranges::find(tables, prefix, &L1Table::prefix);
    const std::uint64_t begin =
        place_.l1_index * g_.span() + (place_.l1 ? 0 : place_.l2_index << g_.cluster_bits());
    std::uint64_t length = place_.l1 ? g_.span() : g_.cluster_size();
    if (l1 != tables.end() && begin < l1->disk) length = std::min(length, l1->disk - begin);
    return {base::GuestOffset{begin}, length, l1 == tables.end() ? std::string() : l1->id};
  }

  Draft& draft_;
  const format::Geometry g_;
  const Choice& choice_;
  EntryPlace place_;
};

}  // namespace

Remedied take_choices(Draft& draft) {
  if (!draft.verdict().geometry) return {};
  for (const auto& choice : draft.options().choices)
    if (auto done = Choosing(draft, choice).run(); !done) return done;
  return {};
}

}  // namespace cowvet::repair
