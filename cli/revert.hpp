// What going back would mean: to an internal snapshot, or, by discarding an overlay, to what it stands on.
// Promises: nothing is written; what is not known to be sound is not called safe.
#pragma once
#include <string>

#include "base/progress.hpp"
#include "base/result.hpp"
#include "cli/disks.hpp"
#include "reports/revert.hpp"

namespace cowvet::cli {

struct RevertQuestion {
  std::string image;     // a file's name
  std::string snapshot;  // id or name; empty: the image is an overlay to be discarded
  bool deep = false;     // read the target's whole content, through the chain
  bool alone = false;    // of a snapshot: the image itself only, not what it stands on
};

// Errors: the image can't be opened or read as what it has to be; there is no such snapshot; cancelled.
[[nodiscard]] base::Result<reports::RevertReport> question_revert(const RevertQuestion& question,
                                                                  const DiskWords& words,
                                                                  base::Progress& progress);

}  // namespace cowvet::cli
