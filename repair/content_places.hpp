// Where lost tables and lost clusters belong by what they hold: the guest's file systems say what must lie
// where, and the order of the file decides between things that look alike. Promises: a place is given where
// every other order of the things fits clearly worse; nothing where the guest's disk is encrypted, lies in
// another file, or has no file system that is known. Work grows with the things and with what file systems say,
// never with the size that the disk claims. Error cancelled only.
#pragma once
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/result.hpp"
#include "repair/draft.hpp"
#include "repair/expectations.hpp"

namespace cowvet::repair {

struct ContentPlace {
  std::size_t place = 0;  // index in the places that were given
  std::string evidence;
};

// L2 tables at these host offsets, for these entries of the active L1 table; both ascending.
[[nodiscard]] base::Result<std::vector<std::optional<ContentPlace>>> tables_by_content(
    Draft& draft, std::span<const std::uint64_t> tables, std::span<const std::uint64_t> l1_indices);

// What these words of L2 entries lead to, in the order of the file, for these clusters of the guest, ascending.
[[nodiscard]] base::Result<std::vector<std::optional<ContentPlace>>> clusters_by_content(
    Draft& draft, std::span<const std::uint64_t> words, std::span<const std::uint64_t> guest_clusters);

// How well each of these L2 tables fits under each of these entries of the active L1 table, in bits:
// [table * indices + index], by a sample of what the tables lead to. Zeros where content tells nothing, and for all but
// some of the entries in a row that nothing tells apart.
[[nodiscard]] std::vector<float> fits_by_content(Draft& draft, std::span<const std::uint64_t> tables,
                                                 std::span<const std::uint64_t> l1_indices);

// The places, ascending and all of one length but for the last, that must be weighed for so many things. Of
// those in a row that nothing tells apart one more than things stays: whatever fits there fits at several of
// them, so that none of them is chosen, and by how much one choice is better than another is the same.
[[nodiscard]] std::vector<std::size_t> places_to_weigh(const Expectations& expected,
                                                       std::span<const Expectations::Window> places,
                                                       std::size_t things);

}  // namespace cowvet::repair
