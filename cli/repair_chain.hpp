// What `repair --chain` goes through: an image and all files that it stands on, found again where they were
// moved or renamed. Promises: the base comes first, no file twice; reads only; names lead to local files, and
// never from a file that is declared raw.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "base/progress.hpp"
#include "base/result.hpp"
#include "cli/shared.hpp"
#include "repair/plan.hpp"

namespace cowvet::cli {

struct ChainLink {
  std::string file;
  std::string format{};                             // as -f says, or the image that stands on it
  std::optional<repair::Reconnection> reconnect{};  // what its backing file is called now
  std::string problem{};  // why what it stands on can't be looked at; "" when all is well
};

// `folders`: where else backing files may have gone. Errors: the image itself can't be opened; cancelled.
[[nodiscard]] base::Result<std::vector<ChainLink>> find_chain(const std::string& image, const Shared& shared,
                                                              const std::vector<std::string>& folders,
                                                              base::Progress& progress);

}  // namespace cowvet::cli
