// What was lost: a table in a leaked cluster, whose entries lead to what a table leads to, or a whole snapshot.
#pragma once
#include <array>
#include <cstdint>
#include <optional>
#include <string>

#include "analyzer/content.hpp"
#include "base/units.hpp"
#include "findings/finding.hpp"
#include "format/snapshot.hpp"

namespace cowvet::analyzer {

struct Orphan {
  std::uint64_t cluster = 0;
  std::uint64_t entries = 0;  // that are not empty
  std::uint64_t named = 0;    // clusters that were looked up for it
  std::uint64_t lost = 0;     // of them, those without an owner
  std::uint64_t tables = 0;   // of them, L2 tables
  std::uint32_t last = 0;     // entry that names one, of those looked up
  bool copied = false;        // an entry has COPIED
  bool is_l1 = false;
  std::array<NamedCluster, 8> sample{};  // some of its entries; cluster 0: none

  // Where it belongs, as far as that is known.
  std::string where_from{};                   // a clause for the finding
  std::vector<findings::GuestRange> guest{};  // the range of its L1 entry, or of each that it may be
  bool placed = false;
};

// A snapshot that a table in the file names, but not the header's number and offset.
struct UnlistedSnapshot {
  format::Snapshot data;
  base::HostOffset at;          // of its entry
  bool in_named_table = false;  // the header names the table, though it does not count the entry
};

}  // namespace cowvet::analyzer
