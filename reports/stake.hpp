// How much of the guest's data is at stake: the guest ranges of errors, put together.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "reports/report.hpp"

namespace cowvet::reports {

struct Stake {
  std::string snapshot;     // "" is the active disk, otherwise the internal snapshot's id
  std::uint64_t bytes = 0;  // covered by at least one finding of severity error or fatal
};

// The active disk first, then snapshots by id. Only findings that are kept are counted.
[[nodiscard]] std::vector<Stake> stakes(const analyzer::Verdict& verdict);

// "at least 512 MiB of the disk, 64 KiB of snapshot '1'"; empty when no range is known. "At least" when findings were
// left out.
[[nodiscard]] std::string stakes_in_words(const analyzer::Verdict& verdict);

}  // namespace cowvet::reports
