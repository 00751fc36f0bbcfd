// What `check --chain` looks at: an image and all files that it stands on. Promises: the base comes first, no
// file twice; names lead to local files only, and never from a file that is declared raw; what could not be
// looked at is said by a finding of the image that names it.
#pragma once
#include <span>
#include <string>
#include <vector>

#include "cli/shared.hpp"
#include "findings/finding.hpp"

namespace cowvet::cli {

struct Link {
  std::string file;
  std::string format{};                           // as -f says, or the image that stands on it
  bool raw_base = false;                          // there is nothing in it that could be damaged
  bool looked_below = false;                      // its backing file is among the links
  std::vector<findings::Finding> of_the_chain{};  // chain/*
};

// The links of all `images`; without `whole_chains`, these alone. An image that can't be opened is a link all the same.
[[nodiscard]] std::vector<Link> links_of(std::span<const std::string> images, const Shared& shared,
                                         bool whole_chains);

}  // namespace cowvet::cli
