// L1 tables by their content, where what should lead to one leads to something else. Promises: only clusters
// that nothing refers to are candidates; a table counts when all its entries lead to clusters of the file, at
// least one of which is an L2 table, and at least half of which may be; two candidates that are as good as
// each other are none.
#pragma once
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "repair/draft.hpp"

namespace cowvet::repair {

// What is said of a header that leads to no place where the active L1 table may be.
[[nodiscard]] std::span<const findings::RuleId> l1_astray();
// What is said of an L1 entry that is something else.
[[nodiscard]] std::span<const findings::RuleId> strange_entries();

struct L1Candidate {
  std::uint64_t offset = 0;
  std::uint64_t tables = 0;  // L2 tables that its entries name
  std::uint64_t copied = 0;  // entries with COPIED, which the active table has
};

// The L2 tables that the table of so many entries at `offset` names; 0 when it is no L1 table.
[[nodiscard]] std::uint64_t tables_behind(const Draft& draft, std::uint64_t offset, std::uint64_t entries);
// Whether the table is one, and some of its L2 tables lie behind the file's end: it is right where it is.
[[nodiscard]] bool cut_off(const Draft& draft, std::uint64_t offset, std::uint64_t entries);
// Of the table whose entries findings name as `where` and a number: one that tells of an entry behind the
// needed ones that it is something else; null when there is none.
[[nodiscard]] const findings::Finding* strange_behind(const Draft& draft, std::string_view where,
                                                      std::uint64_t needed);
[[nodiscard]] std::optional<L1Candidate> search_l1(const Draft& draft, std::uint64_t entries);

}  // namespace cowvet::repair
