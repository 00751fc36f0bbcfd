// From an image to the plan of its repair: the remedies are done in memory and the result is checked, round
// by round, until nothing is left that they can mend; then what every layer shows is held against what it
// showed before. Promises: nothing is written; the same image gives the same plan; a second repair of the
// result finds nothing to do.
#pragma once
#include <memory>

#include "base/progress.hpp"
#include "base/result.hpp"
#include "repair/draft.hpp"
#include "repair/plan.hpp"

namespace cowvet::repair {

// A plan, and the image as it would be.
struct Planned {
  Plan plan;
  std::unique_ptr<Draft> draft;
};

// `image` and `options` outlive the result. Errors: cancelled; wrong_format, when the file is no qcow2 image and
// nothing of one is found in it; limits of this machine.
[[nodiscard]] base::Result<Planned> plan_repair(const storage::Device& image, const Options& options,
                                                base::Progress& progress);

}  // namespace cowvet::repair
