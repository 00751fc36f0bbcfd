// Clusters that are counted and that nothing refers to. Promises: ascending; lost tables that the check knows are not among them;
// those of the file's end that are not whole are left out.
#pragma once
#include <cstdint>
#include <vector>

#include "repair/remedies.hpp"

namespace cowvet::repair {

// At most so many are given.
inline constexpr std::size_t most_lost_clusters = 1U << 20;

[[nodiscard]] base::Result<std::vector<std::uint64_t>> lost_clusters(Draft& draft);

}  // namespace cowvet::repair
