// Where a lost L2 table may belong, when nothing tells it for certain: for a person to choose. Promises:
// entries that lead nowhere or say nothing, the best supported first, with what speaks for each; bounded
// work.
#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "repair/draft.hpp"

namespace cowvet::repair {

inline constexpr std::size_t most_asked_tables = 16;  // that candidates are looked for
inline constexpr std::size_t most_candidates = 5;     // for each

// For each of these tables, host offsets in bytes, ascending.
[[nodiscard]] std::vector<std::vector<Candidate>> candidates_for(Draft& draft,
                                                                 std::span<const std::uint64_t> tables);

}  // namespace cowvet::repair
