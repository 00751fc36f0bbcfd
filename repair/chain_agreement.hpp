// Whether an overlay and what is to lie below it show one disk: file systems prove their parts, and those of
// one file system lie in both. Promises: reads only; a bounded part of the disk.
#pragma once
#include <cstdint>

#include "base/progress.hpp"
#include "base/result.hpp"
#include "engine/chain.hpp"

namespace cowvet::repair {

struct Agreement {
  std::uint64_t above = 0;    // parts that prove themselves, in the overlay alone
  std::uint64_t below = 0;    // in what lies below it alone
  std::uint64_t across = 0;   // in both
  std::uint64_t refuted = 0;  // parts that are not what the rest of the file system says
  // Each holds a part of what the other one's file system says.
  [[nodiscard]] bool proved() const { return refuted == 0 && (across != 0 || (above != 0 && below != 0)); }
};

// Error: cancelled.
[[nodiscard]] base::Result<Agreement> agreement_of(engine::OpenImage& top, base::Progress& progress);

}  // namespace cowvet::repair
