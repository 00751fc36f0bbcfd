// Layers of a chain as snapshots: a new overlay on an image, and a layer taken out of a chain; for `cowvet snapshot`.
// Promises: the overlay appears whole or not at all, and replaces no file; a layer's file is removed only when
// that was asked for, and when nothing needs it any more.
#pragma once
#include <string>

#include "base/result.hpp"
#include "cli/chain_edits.hpp"
#include "cli/console.hpp"
#include "cli/disks.hpp"

namespace cowvet::cli {

struct NewOverlay {
  std::string file;           // to be made
  std::string image, format;  // its backing file
};
// Errors name the file that they are about.
[[nodiscard]] base::Result<void> make_overlay(const NewOverlay& wanted, const DiskWords& words,
                                              const EditWords& edit, Console& console);

struct DeletedLayer {
  std::string layer;           // to be taken out
  std::string active, format;  // the top of the chain
  std::string into;            // "base": what it holds goes down; "overlay": up
  bool remove = false;         // its file too
};
[[nodiscard]] base::Result<void> delete_layer(const DeletedLayer& wanted, const DiskWords& words,
                                              const EditWords& edit, Console& console);

}  // namespace cowvet::cli
