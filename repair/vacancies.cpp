#include "repair/vacancies.hpp"

#include <algorithm>
#include <set>

namespace cowvet::repair {

using namespace findings::literals;
using findings::RuleId;

namespace {

struct Kind {
  RuleId rule;
  bool shared = false;
};

constexpr Kind of_l1[] = {{"l1/entry-unaligned"_rule},      {"l1/entry-past-eof"_rule},
                          {"l1/entry-partial-eof"_rule},    {"l1/points-at-metadata"_rule},
                          {"l1/alias"_rule, true},          {"l2/table-implausible"_rule},
                          {"l1/copied-without-offset"_rule}};
constexpr Kind of_l2[] = {{"l2/data-unaligned"_rule},          {"l2/past-eof"_rule},
                          {"l2/copied-without-offset"_rule},   {"l2/points-at-metadata"_rule},
                          {"l2/host-alias"_rule, true},        {"extl2/unaligned-with-data"_rule},
                          {"extl2/alloc-without-offset"_rule}, {"extl2/subcluster-past-eof"_rule}};

}  // namespace

std::vector<Vacancy> vacancies(const Draft& draft, bool l1) {
  std::vector<Vacancy> list;
  if (!draft.verdict().geometry) return list;
  std::set<std::uint64_t> known;
  const auto add = [&](const Kind& kind, std::string where, std::vector<findings::GuestRange> guest) {
    if (l1)  // "l1[1].l2" is the table, and the entry names it
      if (const auto end = where.find(".l2"); end != std::string::npos) where.resize(end);
    const auto place = draft.entry(where);
    if (!place || place->l1 != l1 || !known.insert(place->offset).second) return;
    list.push_back({.place = *place,
                    .rule = kind.rule,
                    .where = std::move(where),
                    .guest = std::move(guest),
                    .word = draft.word(place->offset),
                    .shared = kind.shared});
  };
  const auto kinds = l1 ? std::span<const Kind>(of_l1) : std::span<const Kind>(of_l2);
  for (const auto& kind : kinds)
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
