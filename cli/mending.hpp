// Repairing one image by name, for the verbs that do: what an interrupted repair left is taken back first, nothing is
// written but with an undo file, and never what the plan's own proof objects to.
#pragma once
#include <string>
#include <vector>

#include "base/progress.hpp"
#include "base/result.hpp"
#include "cli/console.hpp"
#include "cli/overlay_guard.hpp"
#include "cli/shared.hpp"
#include "repair/plan.hpp"

namespace cowvet::cli {

struct Mending {
  repair::Level level = repair::Level::lossless;
  bool allow_loss = false;
  bool plan_only = false;  // nothing is written
  unsigned jobs = 0;
  std::string undo_file{};  // where it is to be; beside the image when empty
  std::string cause{};      // for the undo file: "cowvet repair --level all"
  OverlayGuard guard{};
  std::vector<std::string> apart{};  // overlays that are known to the one who asks
  std::string model{};               // an image that was made like this one, for a lost header; "": none
  const repair::Reconnection* reconnect = nullptr;
  std::vector<repair::Choice> choices{};
};

struct Mended {
  repair::Plan plan;
  bool done = false;        // the plan was carried out
  std::string undo_file{};  // when it was, and changed anything
};

// Errors: usage, when other overlays stand on the image, or the template can't be opened; in_use; as
// repair::plan_repair() and repair::apply_to_file().
[[nodiscard]] base::Result<Mended> mend(const std::string& image, const Shared& shared, const Mending& how,
                                        Console& console, base::Progress& progress);

}  // namespace cowvet::cli
