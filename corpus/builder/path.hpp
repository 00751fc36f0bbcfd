// Paths: the names of structures and fields as recipes write them ("l2[0][3].offset"), made of format/'s field tables.
// docs/recipes.md lists them all. Promises: a path means the place that the structure had when the image was built.
#pragma once
#include <cstdint>

#include "corpus/builder/layout.hpp"
#include "corpus/builder/scanner.hpp"

namespace cowvet::corpus {

// The bytes, or bits, that a path names.
struct Place {
  std::uint64_t offset = 0, length = 0;  // bytes
  enum class What : std::uint8_t { integer, bytes } what = What::bytes;
  std::uint32_t low = 0, bits = 0;  // integer: the bits of the big-endian word
  bool in_place = false;            // an offset: its value is the word's masked bits, not shifted down
};

// Throws Complaint when there is no such structure or field.
[[nodiscard]] Place resolve(const Layout& layout, const Path& path);

// The integer at a place, and its replacement. Both complain about places that are no integers, store also
// about a value that does not fit; -1 and the like fit.
[[nodiscard]] std::uint64_t load(const SparseBytes& file, const Place& place);
void store(SparseBytes& file, const Place& place, std::uint64_t value);

}  // namespace cowvet::corpus
