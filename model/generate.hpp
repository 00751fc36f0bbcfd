// The search for a disagreement with generated sequences. Promises: the same seed gives the same sequences; a sequence
// that fails shrinks to one of which nothing can be left out, or a number made smaller, easily.
#pragma once
#include <cstdint>
#include <functional>
#include <optional>
#include <set>
#include <string>

#include "model/examine.hpp"

namespace cowvet::model {

enum class Profile : std::uint8_t {
  all,
  snapshots,  // mostly snapshots and bitmaps of one image
  chains,     // mostly overlays, and what is done to a tree of images
};

struct Wishes {
  Profile profile = Profile::all;
  bool luks = true;  // takes its time
  std::uint64_t largest_cluster = 2 << 20;
  int most_operations = 120;  // of a sequence; half of them on average
};

struct Searched {
  std::uint64_t sequences = 0, operations = 0;
  std::set<std::string> options;  // combinations of options that images had
  KindCounts kinds{};             // the operations again
  KnownCounts met{};              // with a peer; see known_differences.hpp
  std::optional<Disagreement> disagreement;
  std::optional<Sequence> failing;   // the simplest that was found
  std::string script;                // reproduces it
  std::optional<base::Error> error;  // ended the search: a sequence could not be examined
};

struct Search {
  std::uint64_t seed = 0;
  std::uint64_t operations = 10'000;  // at least so many are done, in as many sequences as it takes
  int most_shrinks = 4000;            // attempts to make a failing sequence simpler; 0: it stays as it is
  Wishes wishes = {};
  Scope scope = Scope::all;  // of the script
  // Asked before each sequence, and before each attempt to make one simpler: true ends the search with what there is.
  std::function<bool(const Searched& so_far)> enough = {};
};

using Try = std::function<Outcome(const Sequence&)>;
[[nodiscard]] Searched search(const Search& search, const Try& attempt);

}  // namespace cowvet::model
