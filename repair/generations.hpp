// Which lost L2 tables are one place of the disk at several times: where an internal snapshot was taken, the
// tables before and after it lead to common clusters from the same entries. Promises: each table is in one
// group, groups are in the order of their first table in the file, and so are the tables of a group.
#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "repair/draft.hpp"

namespace cowvet::repair {

// Groups of indices into `tables`, host offsets of L2 tables in ascending order.
[[nodiscard]] std::vector<std::vector<std::size_t>> generations(const Draft& draft,
                                                                std::span<const std::uint64_t> tables);

// The lost L2 tables that the check found, by host offset, ascending.
[[nodiscard]] std::vector<std::uint64_t> lost_tables(const Draft& draft);

}  // namespace cowvet::repair
