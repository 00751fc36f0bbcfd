// The fields of an image's structures, found by following its own pointers. Promises: total and bounded: an image that
// points in circles, or promises millions of entries, yields a small sample.
#pragma once
#include <cstdint>
#include <random>
#include <vector>

#include "format/catalogue.hpp"
#include "fuzz/sparse_input.hpp"

namespace cowvet::fuzz {

struct Place {  // an integer on disk
  std::uint64_t offset;
  std::size_t width;             // bytes
  const format::WordInfo* word;  // its parts, when it is a bit word; otherwise null
};

// One structure: its fields, or a sample of its entries.
struct Structure {
  std::uint64_t offset;
  std::vector<Place> places;
};

// Header first, then what it leads to. A table is sampled with `random`.
[[nodiscard]] std::vector<Structure> structures_of(const SparseInput& image, std::minstd_rand& random);

}  // namespace cowvet::fuzz
