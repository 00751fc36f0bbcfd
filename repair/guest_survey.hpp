// The file systems of a guest's disk, and what they say must lie where. Promises: bounded work whatever they
// claim; no number of theirs is believed that contradicts the disk's size; each part of the disk that can be
// read adds to what is expected of the rest.
#pragma once
#include "base/checked.hpp"
#include "repair/expectations.hpp"
#include "repair/guest_reader.hpp"

namespace cowvet::repair {

// Finds partitions and file systems, and asks them all.
void survey_guest(const GuestReader& disk, Expectations& expectations);

// One of them, when it begins at `begin`, in bytes of the disk.
void survey_ext(const GuestReader& disk, std::uint64_t begin, Expectations& expectations);
void survey_xfs(const GuestReader& disk, std::uint64_t begin, Expectations& expectations);
void survey_fat(const GuestReader& disk, std::uint64_t begin, Expectations& expectations);
void survey_ntfs(const GuestReader& disk, std::uint64_t begin, Expectations& expectations);

// Whether bytes are a file system's first ones.
[[nodiscard]] bool begins_ext(base::ConstBytes bytes);
[[nodiscard]] bool begins_xfs(base::ConstBytes bytes);
[[nodiscard]] bool begins_fat(base::ConstBytes bytes);
[[nodiscard]] bool begins_ntfs(base::ConstBytes bytes);

// Bits of a map of used blocks, least significant first: runs of equal ones, [first, first + count).
void for_each_run(base::ConstBytes map, std::uint64_t bits,
                  const std::function<void(std::uint64_t first, std::uint64_t count, bool set)>& use);

}  // namespace cowvet::repair
