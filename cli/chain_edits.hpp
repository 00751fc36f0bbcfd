// What the verbs that change chains of images have in common: commit, rebase, pull, snapshot. Promises:
// --dry-run writes nothing; what would be lost, and space that is not there, are told before the first write,
// and end the verb unless --force was given; a stop leaves the chain as it was to read, and says how to go
// on.
#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "base/result.hpp"
#include "cli/arguments.hpp"
#include "cli/console.hpp"
#include "cli/disks.hpp"
#include "cli/overlay_guard.hpp"
#include "engine/chain_edit.hpp"
#include "reports/chain_edit.hpp"

namespace cowvet::cli {

// The options of such a verb.
struct EditWords {
  bool dry_run = false, force = false, progress = false, quiet = false;
  std::optional<std::uint64_t> rate;
  std::string output = "human";
  std::uint64_t jobs = 0;
  OverlayGuard guard;

  // Adds --dry-run, --force, --search, --output, -r, -p, -q and --jobs.
  void add_to(Arguments& arguments);
  [[nodiscard]] engine::EditOptions options() const;
};

// A chain opened for reading, and how other files of it are opened.
struct OpenedChain {
  std::unique_ptr<engine::OpenImage> image;
  engine::ChainOptions options;
  engine::OpenFile open;
};
[[nodiscard]] base::Result<OpenedChain> open_chain(std::string image, const std::string& format,
                                                   const DiskWords& words, bool no_backing = false);

[[nodiscard]] reports::ChainEditReport report_of(std::string_view operation, const engine::EditPlan& plan);
// For --dry-run. Overlays apart from the chain that would show something else are named as invalid, too.
[[nodiscard]] base::Result<void> print_report(reports::ChainEditReport report, const EditWords& words,
                                              Console& console);
// Bytes free where a file lies, or will lie; nothing where that can't be told.
[[nodiscard]] std::optional<std::uint64_t> available_for(const std::string& file);

// Error usage: overlays that are no part of the chain would show something else, or be invalid.
[[nodiscard]] base::Result<void> spare_overlays(const reports::ChainEditReport& report,
                                                const EditWords& words);

// Does what was prepared, or tells it; true when it was done. Errors name their file.
[[nodiscard]] base::Result<bool> perform(std::string_view operation, engine::ChainEdit& edit,
                                         const EditWords& words, Console& console);

// Names the files that can't be used any more, and those that are not needed.
[[nodiscard]] std::string left_over(const engine::EditPlan& plan);

}  // namespace cowvet::cli
