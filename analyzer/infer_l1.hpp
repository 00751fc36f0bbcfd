// How well a place in the file reads as the active L1 table, with a geometry and a refcount table that are guesses too.
// Promises: total over any bytes; bounded reading; a few bad entries don't hide a table.
// Hands on: candidates with their evidence, to be compared.
#pragma once
#include <cstdint>
#include <optional>
#include <set>
#include <unordered_map>
#include <vector>

#include "analyzer/image.hpp"
#include "analyzer/l2_scan.hpp"
#include "analyzer/stored_refcounts.hpp"

namespace cowvet::analyzer {

// What pointers say when they are held against the refcounts: COPIED must mean that the target is counted exactly once.
// Only the active layer's flags are kept up to date, so what a snapshot's table leads to contradicts.
struct Agreement {
  std::uint64_t copied = 0;   // pointers with COPIED whose target is counted once
  std::uint64_t clear = 0;    // pointers without it whose target is counted otherwise
  std::uint64_t opposed = 0;  // pointers that contradict the refcounts, and words that are none
  void add(const Agreement& other) {
    copied += other.copied;
    clear += other.clear;
    opposed += other.opposed;
  }
  [[nodiscard]] std::uint64_t agreeing() const { return copied + clear; }
  [[nodiscard]] std::int64_t score() const {
    return static_cast<std::int64_t>(2 * copied + clear) - static_cast<std::int64_t>(2 * opposed);
  }
};

struct L1Guess {
  std::uint64_t offset = 0;
  std::uint64_t entries = 0;  // up to the last one that is not zero
  std::uint64_t bad = 0;      // entries that can't be right
  bool extended = false;
  bool recognised = false;  // an L2 table that maps something was seen behind it
  Agreement agreement{};
};

class L1Evidence {
 public:
  // Without refcounts every pointer that may be right agrees; with the data in another file those of L2 tables say
  // nothing of this one. All of it outlives the evidence.
  L1Evidence(const Image& image, const format::Geometry& geometry, StoredRefcounts* refcounts,
             std::uint64_t refcount_table, bool external_data);

  // Where the table of something else is known to begin, so that no L1 table goes on there.
  void reserve(std::uint64_t offset) { reserved_.insert(offset); }
  [[nodiscard]] bool reserved(std::uint64_t offset) const { return reserved_.contains(offset); }
  // The table at `offset`, as long as it goes on, at most `most` entries; nothing when it is hardly one.
  [[nodiscard]] std::optional<L1Guess> judge(std::uint64_t offset, std::uint64_t most);
  // Whether the cluster there is counted once, or may be since nothing is counted.
  [[nodiscard]] bool exclusive(std::uint64_t offset);

 private:
  struct Page {
    std::uint64_t tables = 0, empty = 0, other = 0, bad = 0, used = 0;
    Agreement agreement;
  };
  struct Target {
    enum class Content : std::uint8_t { table, empty, other } content = Content::other;
    Agreement agreement;
  };
  [[nodiscard]] Page page(std::uint64_t own, base::ConstBytes bytes);
  [[nodiscard]] const Target& target(std::uint64_t offset);
  void compare(std::uint64_t cluster, bool copied, Agreement& agreement);

  const Image& image_;
  format::Geometry geometry_;
  ScanRules rules_;
  StoredRefcounts* refcounts_;
  std::set<std::uint64_t> reserved_;
  std::unordered_map<std::uint64_t, Target> targets_;
};

// Bytes of the file, as many as there are; nothing when they can't be read.
[[nodiscard]] std::vector<std::byte> bytes_of(const Image& image, std::uint64_t offset, std::uint64_t length);

}  // namespace cowvet::analyzer
