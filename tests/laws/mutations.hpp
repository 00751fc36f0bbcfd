// Tiny sound images of each feature, and every change of their metadata that the laws are tried on: each bit of each
// 64-bit word flipped, and eight more changes of it. Empty words are all alike: a few of each structure stand for the
// rest. The images are built anew by each run, and the same each time.
#pragma once
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "corpus/builder/layout.hpp"
#include "storage/memory.hpp"

namespace cowvet::laws {

struct Feature {
  const char* name;
  const char* recipe;
};
[[nodiscard]] std::span<const Feature> features();

// One changed word.
struct Mutation {
  const corpus::NamedRegion& region;
  std::uint64_t at;    // bytes into the file
  const char* change;  // "bit", "zero", "+512", ...
  std::uint64_t old, value;
};

[[nodiscard]] std::string structure_of(corpus::Kind kind);

// Makes each change in turn in `image`, calls `look`, and takes it back.
void for_each_mutation(const corpus::Layout& layout, storage::MemoryDevice& image,
                       const std::function<void(const Mutation&)>& look);

}  // namespace cowvet::laws
