// The one table of exit codes. Where qemu-img has a verb, its codes are kept.
#pragma once

namespace cowvet::cli {

enum class Exit : int {
  success = 0,  // done; check: clean
  failed = 1,   // the request could not be met: wrong arguments, no such file, stopped
  corrupt = 2,  // check: damaged; revert-check: not safe; salvage: with losses; carve: nothing
  leaks =
      3,  // check: leaks only (or what else --fail-on counts below an error); revert-check: loss; salvage: inferred
  unsupported = 63,  // check: not a format that can be checked

  disagreement = 2,  // model: the program under examination does otherwise than the model

  // compare, which has codes of its own
  different = 1,      // the content differs; with -s also what is allocated, or the sizes
  not_opened = 2,     // an image can't be opened
  unknown_state = 3,  // what is allocated can't be told
  unreadable = 4,     // the content can't be read
};

// How bad an outcome is when several images were looked at: the worst one's code counts.
[[nodiscard]] constexpr int badness(Exit code) {
  switch (code) {
    case Exit::success: return 0;
    case Exit::leaks: return 1;
    case Exit::unsupported: return 2;
    case Exit::failed:
    case Exit::unreadable: return 3;
    case Exit::corrupt: return 4;
  }
  __builtin_unreachable();
}

[[nodiscard]] constexpr Exit worse(Exit a, Exit b) { return badness(a) < badness(b) ? b : a; }

}  // namespace cowvet::cli
