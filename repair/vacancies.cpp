#include "repair/vacancies.hpp"

#include <algorithm>
#include <bit>
#include <set>

#include "repair/owned_clusters.hpp"

namespace cowvet::repair {

using namespace findings::literals;
using findings::RuleId;

namespace {

struct VacancyKind {
  RuleId rule;
  bool shared = false;
};

constexpr VacancyKind of_l1[] = {{"l1/entry-unaligned"_rule},       {"l1/entry-past-eof"_rule},
                                 {"l1/entry-partial-eof"_rule},     {"l1/points-at-metadata"_rule},
                                 {"l1/alias"_rule, true},           {"l2/table-implausible"_rule},
                                 {"l1/copied-without-offset"_rule}, {"l1/entry-reserved"_rule}};
constexpr VacancyKind of_l2[] = {{"l2/data-unaligned"_rule},
                                 {"l2/past-eof"_rule},
                                 {"l2/copied-without-offset"_rule},
                                 {"l2/points-at-metadata"_rule},
                                 {"l2/host-alias"_rule, true},
                                 {"extl2/unaligned-with-data"_rule},
                                 {"extl2/alloc-without-offset"_rule},
                                 {"extl2/subcluster-past-eof"_rule},
                                 {"l2/reserved"_rule}};

constexpr RuleId past_eof[] = {"l1/entry-past-eof"_rule, "l1/entry-partial-eof"_rule, "l2/past-eof"_rule,
                               "extl2/subcluster-past-eof"_rule};

}  // namespace

std::string resembles(std::uint64_t word, std::uint64_t offset) {
  constexpr std::uint64_t low = (1ULL << 56) - 1;
  const std::uint64_t stored = word & low;
  if (stored == 0) return {};
  if (std::popcount(stored ^ offset) == 1) return "the entry differs from one that leads there by one bit";
  constexpr std::uint64_t near = 512;
  if (stored + near == offset || offset + near == stored) return "the entry misses it by one sector";
  return {};
}

bool sense_without_reserved(const Draft& draft, const EntryPlace& place) {
  const auto& g = draft.geometry();
  const std::uint64_t word = draft.word(place.offset);
  const base::HostOffset to{word & format::entry_offset_mask};
  if (std::popcount(word) == 1 && to.raw() == 0) return true;  // a flipped bit of an empty entry
  if (!place.l1 && draft.header().external_data_file())        // its first cluster is at 0
    return g.aligned(to) && (to.raw() != 0 || (word & format::copied_flag) != 0);
  if (to.raw() == 0 || !g.aligned(to)) return false;
  if (to.raw() >= draft.image().size()) return false;
  if (!place.l1) return true;
  const auto table = draft.bytes(to.raw(), g.cluster_size());
  return base::all_zero(table) || l2_looks(table, g, draft.image().size()).is_one();
}

std::vector<Vacancy> vacancies(const Draft& draft, bool l1, bool cut_off) {
  std::vector<Vacancy> list;
  if (!draft.verdict().geometry) return list;
  // What was cut off with the end of the file lies nowhere else in it.
  const bool cut = draft.any("file/truncated"_rule);
  std::set<std::uint64_t> known;
  const auto add = [&](const VacancyKind& kind, std::string where, std::vector<findings::GuestRange> guest) {
    if (l1)  // "l1[1].l2" is the table, and the entry names it
      if (const auto end = where.find(".l2"); end != std::string::npos) where.resize(end);
    const auto place = draft.entry(where);
    if (!place || place->l1 != l1) return;
    const bool reserved = kind.rule == "l1/entry-reserved"_rule || kind.rule == "l2/reserved"_rule;
    if ((reserved && sense_without_reserved(draft, *place)) || !known.insert(place->offset).second) return;
    list.push_back({.place = *place,
                    .rule = kind.rule,
                    .where = std::move(where),
                    .guest = std::move(guest),
                    .word = draft.word(place->offset),
                    .cut = cut && std::ranges::find(past_eof, kind.rule) != std::end(past_eof),
                    .shared = kind.shared});
  };
  const auto kinds = l1 ? std::span<const VacancyKind>(of_l1) : std::span<const VacancyKind>(of_l2);
  for (const auto& kind : kinds)
    if (cut_off || !cut || std::ranges::find(past_eof, kind.rule) == std::end(past_eof))
      for (const auto& f : draft.found(kind.rule)) {
        auto guest = f.guest;
        if (kind.shared && guest.size() > 1) guest.resize(1);
        add(kind, f.where, std::move(guest));
        if (kind.shared)
          for (const auto& owner : f.owners)
            add(kind, owner.where,
                owner.guest ? std::vector{*owner.guest} : std::vector<findings::GuestRange>{});
      }
  return list;
}

}  // namespace cowvet::repair
