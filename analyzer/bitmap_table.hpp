// The tables and data of persistent bitmaps.
#pragma once
#include <cstdint>
#include <string>

#include "analyzer/image.hpp"

namespace cowvet::analyzer {

// Reads bitmap tables one after the other and adds the regions of the tables and of the data that they name.
// Tables that don't overlap can't be larger than what the file holds: when they are, the rest is left unread,
// with a doubt.
class BitmapTables {
 public:
  explicit BitmapTables(Image& image);

  // Judges the first `entries` entries of the bitmap's table, whose place is possible.
  void check(const BitmapState& state, std::uint64_t entries);

 private:
  struct Run {  // consecutive table entries with consecutive clusters
    std::uint64_t entry = 0, begin = 0, clusters = 0;
  };
  void judge(const BitmapState& state, std::uint64_t index, format::BitmapTableEntry entry);
  void judge_tail(const BitmapState& state, std::uint64_t index, format::BitmapTableEntry entry);
  void own(const BitmapState& state, std::uint64_t index, base::HostOffset cluster);
  void end_run(const BitmapState& state);
  void report(findings::RuleId rule, const BitmapState& state, std::uint64_t index,
              format::BitmapTableEntry entry, const char* detail);

  Image& image_;
  const format::Geometry geometry_;
  std::uint64_t budget_;       // bytes of tables that are still read
  std::uint64_t regions_ = 0;  // of data
  Run run_;
};

}  // namespace cowvet::analyzer
