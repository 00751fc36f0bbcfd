// Where lost tables and lost clusters belong by what they hold: the guest's file systems say what must lie
// where, and the order of the file decides between things that look alike. Promises: a place is given where
// every other order of the things fits clearly worse; nothing where the guest's disk is encrypted, lies in
// another file, or has no file system that is known.
#pragma once
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "repair/draft.hpp"

namespace cowvet::repair {

struct ContentPlace {
  std::size_t place = 0;  // index in the places that were given
  std::string evidence;
};

// L2 tables at these host offsets, for these entries of the active L1 table; both ascending.
[[nodiscard]] std::vector<std::optional<ContentPlace>> tables_by_content(
    const Draft& draft, std::span<const std::uint64_t> tables, std::span<const std::uint64_t> l1_indices);

// What these words of L2 entries lead to, in the order of the file, for these clusters of the guest, ascending.
[[nodiscard]] std::vector<std::optional<ContentPlace>> clusters_by_content(
    const Draft& draft, std::span<const std::uint64_t> words, std::span<const std::uint64_t> guest_clusters);

}  // namespace cowvet::repair
