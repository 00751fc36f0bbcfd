// RapidCheck's generators of sequences, and the search with them. Promises: the same seed gives the same sequences; a
// sequence that fails shrinks to one of which nothing can be left out, or a number made smaller, easily.
#pragma once
#include <cstdint>
#include <functional>
#include <optional>
#include <set>
#include <string>

#include <rapidcheck/Gen.h>

#include "model/examine.hpp"

namespace cowvet::model {

struct Wishes {
  bool luks = true;  // takes its time
  std::uint64_t largest_cluster = 2 << 20;
  int most_operations = 120;  // of a sequence; half of them on average
};
[[nodiscard]] rc::Gen<Sequence> sequences(const Wishes& wishes);

struct Search {
  std::uint64_t seed = 0;
  std::uint64_t operations = 10'000;  // at least so many are done, in as many sequences as it takes
  int most_shrinks = 4000;            // attempts to make a failing sequence simpler; 0: it stays as it is
  Wishes wishes = {};
  Scope scope = Scope::all;  // of the script
};

struct Searched {
  std::uint64_t sequences = 0, operations = 0;
  std::set<std::string> options;  // combinations of options that images had
  std::optional<Disagreement> disagreement;
  std::string script;  // reproduces it
};
using Try = std::function<Outcome(const Sequence&)>;
[[nodiscard]] Searched search(const Search& search, const Try& attempt);

}  // namespace cowvet::model
