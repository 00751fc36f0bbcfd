// The refcounts that a file stores when its refcount table is read at some place with some geometry, before anything is
// known to be right. Promises: total over any bytes; bounded memory; what can't be read counts as 0.
// Hands on: single refcounts, and how well the structures speak for themselves.
#pragma once
#include <cstdint>
#include <unordered_map>
#include <vector>

#include "base/bytes.hpp"
#include "base/units.hpp"
#include "format/geometry.hpp"
#include "storage/device.hpp"

namespace cowvet::analyzer {

class StoredRefcounts {
 public:
  // The device outlives it.
  StoredRefcounts(const storage::Device& device, const format::Geometry& geometry, base::HostOffset table);

  [[nodiscard]] std::uint64_t of(std::uint64_t cluster);
  // Of the header, the table's first cluster and the block that counts the header: how many are counted exactly once.
  // Chance doesn't make it two: a table that is read in the wrong place or with the wrong width has none or one.
  [[nodiscard]] unsigned self_evidence();
  // Clusters of the file that the first block counts.
  [[nodiscard]] std::uint64_t counted();

 private:
  [[nodiscard]] std::uint64_t place_of_block(std::uint64_t index);  // 0: there is none that can be read
  [[nodiscard]] base::ConstBytes block(std::uint64_t index);
  [[nodiscard]] std::vector<std::byte> read(std::uint64_t offset, std::uint64_t length) const;

  const storage::Device& device_;
  format::Geometry geometry_;
  std::uint64_t table_;
  std::uint64_t piece_begin_ = 0;  // of the table, bytes
  std::vector<std::byte> piece_;
  std::unordered_map<std::uint64_t, std::vector<std::byte>> blocks_;
};

}  // namespace cowvet::analyzer
