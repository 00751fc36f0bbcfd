// One L2 table's bytes to runs of entries that mean the same. Promises: total and without judgement of severity; each
// entry that owns host space is in exactly one run; what is wrong with an entry is told as a set of problems.
#pragma once
#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

#include "base/bytes.hpp"
#include "format/geometry.hpp"

namespace cowvet::analyzer {

// What can be wrong with a single entry, as bits of a set.
namespace problem {
inline constexpr std::uint32_t reserved = 1 << 0;           // reserved bits set
inline constexpr std::uint32_t unaligned = 1 << 1;          // host offset is not a cluster's start
inline constexpr std::uint32_t past_eof = 1 << 2;           // starts at or behind the end of the file
inline constexpr std::uint32_t zero_in_v2 = 1 << 3;         // zero flag, which version 2 doesn't have
inline constexpr std::uint32_t copied_alone = 1 << 4;       // COPIED without an offset
inline constexpr std::uint32_t zero_copied = 1 << 5;        // zero flag and COPIED without an offset
inline constexpr std::uint32_t compressed_copied = 1 << 6;  // COPIED on a compressed entry
inline constexpr std::uint32_t high_bits = 1 << 7;          // compressed: offset bits 56 and up
inline constexpr std::uint32_t in_header = 1 << 8;          // names cluster 0
inline constexpr std::uint32_t extended_zero_flag = 1 << 9;
inline constexpr std::uint32_t alloc_and_zero = 1 << 10;
inline constexpr std::uint32_t alloc_without_offset = 1 << 11;
inline constexpr std::uint32_t compressed_bitmap = 1 << 12;
inline constexpr std::uint32_t compressed_here =
    1 << 13;  // compressed although the data is in an external file
inline constexpr std::uint32_t host_differs =
    1 << 14;  // external data file: host offset is not the guest offset
inline constexpr std::uint32_t not_copied = 1 << 15;        // external data file: COPIED missing
inline constexpr std::uint32_t too_many_sectors = 1 << 16;  // compressed: longer than any stream of a cluster
inline constexpr std::uint32_t far_past_eof =
    1 << 17;  // so far behind the end that no cut of the file explains it
// Problems that make it doubtful that these bytes are an L2 entry at all. An entry that leads past the end of
// the file is not among them: that is what the tables of a file look like that was cut.
inline constexpr std::uint32_t implausible = reserved | unaligned | far_past_eof | zero_in_v2 | high_bits |
                                             in_header | alloc_and_zero | compressed_bitmap;
}  // namespace problem

enum class EntryType : std::uint8_t {
  zero,        // reads as zeros and owns nothing
  data,        // a data cluster
  zero_alloc,  // reads as zeros, with a cluster reserved
  compressed,
  none,  // nothing is allocated, but there is a problem
};

// Entries [first, first + count) of a table. In runs of data and zero_alloc each host cluster follows the one before.
// Compressed runs and runs with problems have one entry.
// A walk has many of them in memory, so that every byte counts.
struct EntryRun {
  std::uint32_t first = 0, count = 0;
  std::uint64_t host = 0;         // bytes; where owned: of the first entry
  std::uint64_t subclusters = 0;  // extended: the second word of every entry of the run
  std::uint32_t problems = 0;
  std::uint16_t sectors = 0;  // compressed: additional sectors; an entry has 13 bits for them at most
  EntryType type = EntryType::none;
  bool copied = false;
  // Whether host space belongs to these entries, with the offset known well enough to count it.
  [[nodiscard]] bool owns() const {
    return (type == EntryType::data || type == EntryType::zero_alloc || type == EntryType::compressed) &&
           (problems & (problem::unaligned | problem::high_bits | problem::compressed_here)) == 0;
  }
};

// The host clusters that a run touches, as numbers.
struct ClusterSpan {
  std::uint64_t first = 0, count = 0;
};
[[nodiscard]] inline ClusterSpan host_clusters(const EntryRun& run, const format::Geometry& geometry) {
  const std::uint64_t first = run.host >> geometry.cluster_bits();
  if (run.type != EntryType::compressed) return {first, run.count};
  const format::CompressedRange range{base::HostOffset{run.host}, run.sectors};
  return {first, ((run.host + range.length() - 1) >> geometry.cluster_bits()) - first + 1};
}

struct ScanRules {
  format::Geometry geometry;
  std::uint64_t eof = 0;  // bytes of the image file
  bool version2 = false;
  bool external_data = false;  // offsets are into the external data file
};

// Appends the table's runs to `out`, ascending, from entry `first` on, until `out` holds `most` of them or
// the table ends; returns the entry to go on with. `guest` is the guest offset of the table's first entry.
// `bytes` may be shorter than a table: what is missing has no runs.
std::uint32_t scan_l2(base::ConstBytes bytes, const ScanRules& rules, std::uint64_t guest,
                      std::vector<EntryRun>& out, std::uint32_t first = 0,
                      std::size_t most = std::numeric_limits<std::size_t>::max());

// Whether `host` lies so far behind the end of a file of `eof` bytes that no cut of the file explains it.
[[nodiscard]] bool far_past_eof(std::uint64_t host, std::uint64_t eof);

// Whether the entries look like something else's content, and not like entries of which some bits are wrong.
[[nodiscard]] bool foreign(const EntryRun& run);

// What a table's entries say of the table as a whole.
struct Looks {
  std::uint64_t entries = 0, foreign = 0;  // that are not empty; of them, those that look like something else
  Looks& operator+=(const Looks& more) {
    entries += more.entries;
    foreign += more.foreign;
    return *this;
  }
  // Guest data or another structure lies where the table should be, at least in a part of it.
  [[nodiscard]] bool implausible() const { return foreign >= 4 && foreign * 2 >= entries; }
};
[[nodiscard]] Looks looks_of(const std::vector<EntryRun>& runs);

}  // namespace cowvet::analyzer
