// Entries of the tables that lead nowhere, or where they can't be right: places that something lost may belong to.
#pragma once
#include <string>
#include <vector>

#include "repair/draft.hpp"

namespace cowvet::repair {

struct Vacancy {
  EntryPlace place;
  findings::RuleId rule;
  std::string where;
  std::vector<findings::GuestRange> guest;
  std::uint64_t word = 0;  // as it is now
  bool cut = false;        // it leads behind the end of a file that was cut off
  bool shared = false;  // what it leads to is somebody else's too: perhaps it is the other one that is wrong
};

// Whether an entry with reserved bits set makes sense without them: what it leads to is what such an entry may lead to.
[[nodiscard]] bool sense_without_reserved(const Draft& draft, const EntryPlace& place);

// Whether a damaged word differs so little from one that names `offset` that this is what it was: by one bit,
// or by less than a cluster. What speaks for it; "" when it does not.
[[nodiscard]] std::string resembles(std::uint64_t word, std::uint64_t offset);

// Of L1 tables, or of L2 tables. What was cut off with the end of the file lies nowhere else in it: entries that lead
// there are told with `cut_off` only.
[[nodiscard]] std::vector<Vacancy> vacancies(const Draft& draft, bool l1, bool cut_off = false);

}  // namespace cowvet::repair
