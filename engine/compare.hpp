// Whether two disks show the same content. Promises: the answer is the first difference, whatever the threads did; what
// is known to be zeros on both sides is not read; memory is bounded by a few chunks a thread.
#pragma once
#include <cstdint>
#include <expected>
#include <optional>

#include "base/progress.hpp"
#include "base/result.hpp"
#include "engine/chain.hpp"

namespace cowvet::engine {

struct CompareOptions {
  bool strict = false;  // sizes, and what is allocated how, must be the same too
  unsigned jobs = 1;    // threads
};

struct Comparison {
  enum class Difference : std::uint8_t {
    none,
    size,        // strict: nothing else was looked at
    allocation,  // strict
    content,     // behind the shorter disk's end zeros count as the same
  };
  Difference difference = Difference::none;
  std::uint64_t offset = 0;  // of the first difference; of content, its sector's
  bool common_part_same = false;
};

// What stopped the comparison before a difference was found.
struct CompareFailure {
  enum class Step : std::uint8_t { allocation, content };
  Step step = Step::content;
  bool second = false;  // which of the two disks failed
  std::uint64_t offset = 0;
  base::Error error;
};

// `progress` counts bytes of the longer disk; asked to stop, the error's kind is cancelled.
[[nodiscard]] std::expected<Comparison, CompareFailure> compare(OpenImage& first, OpenImage& second,
                                                                const CompareOptions& options,
                                                                base::Progress& progress);

}  // namespace cowvet::engine
