// Ctrl-C: the first one asks the work at hand to stop cleanly, the second one ends the program at once.
#pragma once
#include "base/progress.hpp"

namespace cowvet::cli {

// While it lives, SIGINT and SIGTERM ask `progress` to stop. One at a time.
class StopOnSignal {
 public:
  explicit StopOnSignal(base::Progress& progress);
  StopOnSignal(const StopOnSignal&) = delete;
  StopOnSignal& operator=(const StopOnSignal&) = delete;
  ~StopOnSignal();
};

}  // namespace cowvet::cli
