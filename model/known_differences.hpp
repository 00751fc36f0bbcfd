// Where QEMU is known to do otherwise than the model, in one table with the reasons. Promises: nothing else is left out
// of a comparison with another program, and what is left out is counted, never passed over in silence.
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <optional>
#include <string_view>

#include "model/operation.hpp"

namespace cowvet::model {

class Model;

enum class Known : std::uint8_t {
  compressed_again,
  discard_shows_below,
  version_2_grows,
  old_tail_shows,
  old_tables_show,
  preallocation_over_backing,
  revert_unmarked,
  narrow_refcounts,
  ended_without_closing,
  raw_data_file_longer,
  keys_of_trees,
  longer_base_shows,
  held_or_not,
  preallocated_ciphertext,
};

struct KnownDifference {
  std::string_view name;
  std::string_view what;     // the other program does
  std::string_view instead;  // what is done with an operation that would meet it
};

// In the order of Known.
inline constexpr KnownDifference known_differences[] = {
    {"compressed-again", "a compressed write fails where a cluster is mapped already", "left out"},
    {"discard-shows-below", "discarding in version 2 shows the backing file again", "left out"},
    {"version-2-grows", "an overlay of version 2 can't grow over what its backing file has there",
     "left out"},
    {"old-tail-shows",
     "after shrinking within a cluster, growing shows what was there before (7.2: docs/peers.md)",
     "left out where the disk ends within a cluster"},
    {"old-tables-show", "preallocated clusters may show tables that lay there before (7.2: docs/peers.md)",
     "done without preallocation"},
    {"preallocation-over-backing", "an overlay grows with preallocation only for some modes and sizes",
     "done without preallocation"},
    {"revert-unmarked", "reverting to a snapshot is refused where there are bitmaps", "left out"},
    {"narrow-refcounts", "who reaches the limit of narrow refcounts when is nobody's promise", "left out"},
    {"ended-without-closing", "what leaks when a program ends is its own affair", "closed properly"},
    {"raw-data-file-longer", "a raw data file reaches to the end of the disk's last cluster",
     "accepted while only zeros are there"},
    {"keys-of-trees", "commands on a tree with encrypted images take option lists of their own", "left out"},
    {"longer-base-shows",
     "after a commit into a longer base, layers above see what lies behind the merged layer's end",
     "left out"},
    {"held-or-not", "an unsafe rebase shows what was allocated, which is each program's own choice",
     "left out where nobody can tell"},
    {"preallocated-ciphertext",
     "a preallocated encrypted disk reads as what its zeros decrypt to (docs/peers.md)",
     "done without preallocation"},
};
using KnownCounts = std::array<std::uint64_t, std::size(known_differences)>;

struct Comparable {
  std::optional<Operation> operation;  // nothing: it must be left out
  std::optional<Known> met;            // why it is not the one that was asked about
};
// How an image can be made so that it can be compared; `met` says why it is another one than was asked about.
struct ComparableSetting {
  Setting setting;
  std::optional<Known> met;
};
[[nodiscard]] ComparableSetting comparable(const Setting& fitted);

// What can be compared of a fitted operation.
[[nodiscard]] Comparable comparable(const Operation& fitted, const Model& model);

}  // namespace cowvet::model
