// A lost table: a leaked cluster that reads as a table whose entries lead to what a table leads to.
#pragma once
#include <array>
#include <cstdint>
#include <optional>
#include <string>

#include "analyzer/content.hpp"
#include "findings/finding.hpp"

namespace cowvet::analyzer {

struct Orphan {
  std::uint64_t cluster = 0;
  std::uint64_t entries = 0;  // that are not empty
  std::uint64_t named = 0;    // clusters that were looked up for it
  std::uint64_t lost = 0;     // of them, those without an owner
  std::uint64_t tables = 0;   // of them, L2 tables
  bool copied = false;        // an entry has COPIED
  bool is_l1 = false;
  std::array<NamedCluster, 8> sample{};  // some of its entries; cluster 0: none

  // Where it belongs, as far as that is known.
  std::string where_from{};                   // a clause for the finding
  std::vector<findings::GuestRange> guest{};  // the range of its L1 entry, or of each that it may be
  bool placed = false;
};

}  // namespace cowvet::analyzer
