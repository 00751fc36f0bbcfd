// What to do about an image, the steps that can lose least first.
#pragma once
#include <string>
#include <vector>

#include "reports/report.hpp"

namespace cowvet::reports {

// One sentence or two a step: first what keeps the evidence, then steps that write nothing, lossless ones, those that
// free space, those that need a decision, those that discard something. Empty when there is nothing to be done.
[[nodiscard]] std::vector<std::string> advice(const analyzer::Verdict& verdict,
                                              const std::vector<Group>& groups, Judgement judgement);

}  // namespace cowvet::reports
