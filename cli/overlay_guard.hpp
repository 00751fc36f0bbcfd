// Keeps verbs from changing, unasked, what other images stand on. Promises: a few bytes of each file in the
// image's folder are read, and nothing is written; in another program's place nothing is looked at, since
// that program does not. A folder that can't be looked through is told on stderr, and does not keep anybody from
// his image.
#pragma once
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.hpp"
#include "cli/arguments.hpp"

namespace cowvet::cli {

struct OverlayGuard {
  bool force = false;
  std::vector<std::string> folders;  // --search: where overlays may be besides the image's own folder

  // Adds --search, and --force unless the verb has one that means more.
  void add_to(Arguments& arguments, bool with_force = true);
};

// The overlays directly on `file` that the guard finds, but for those of `apart`.
[[nodiscard]] base::Result<std::vector<std::string>> overlays_apart(const std::string& file,
                                                                    const OverlayGuard& guard,
                                                                    std::span<const std::string> apart);

// Error usage, when there are overlays on `image` that show its content too: names them. `image` is a file's
// name, or an option list when `image_options` says so; one that can't be found is for the caller to complain
// of. Files of `apart` don't count: layers of the chain that is being changed.
[[nodiscard]] base::Result<void> refuse_with_overlays(const std::string& image, bool image_options,
                                                      const OverlayGuard& guard,
                                                      std::span<const std::string> apart = {});

}  // namespace cowvet::cli
