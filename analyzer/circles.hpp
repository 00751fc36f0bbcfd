// Circles where each thing leads to at most one other: backing files, parents of snapshots. Promises: each
// circle is told once, in the order in which it is walked; the time is proportional to the number of things.
#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace cowvet::analyzer {

// `next(i)`: what thing i of `count` leads to, if anything. `found(members)`: the last of them leads to the first.
template <class Next, class Found>
void each_circle(std::size_t count, Next next, Found found) {
  std::vector<std::uint8_t> seen(count);  // 0 not yet, 1 on this walk, 2 done
  for (std::size_t start = 0; start < count; ++start) {
    std::vector<std::size_t> walk;
    std::optional<std::size_t> at = start;
    while (at && seen[*at] == 0) {
      seen[*at] = 1;
      walk.push_back(*at);
      at = next(*at);
    }
    if (at && seen[*at] == 1)
      found(std::span<const std::size_t>(walk).subspan(
          static_cast<std::size_t>(std::ranges::find(walk, *at) - walk.begin())));
    for (const auto one : walk) seen[one] = 2;
  }
}

}  // namespace cowvet::analyzer
