// Clusters that are counted and that nothing refers to. Promises: ascending, inside the file at least with
// their first byte; lost tables that the check knows are not among them.
#pragma once
#include <cstdint>
#include <vector>

#include "repair/remedies.hpp"

namespace cowvet::repair {

// At most so many are given.
inline constexpr std::size_t most_lost_clusters = 1U << 20;

enum class Counted : std::uint8_t {
  once,  // as a cluster of data is
  ever,
};
[[nodiscard]] base::Result<std::vector<std::uint64_t>> lost_clusters(Draft& draft, Counted counted);

}  // namespace cowvet::repair
