// Goes through all L2 tables that can be reached, each once, in all layers: for those who look for an entry
// by what it points to. Promises: entries as stored; a damaged L1 entry is left out; memory of one table.
#pragma once
#include <functional>
#include <span>

#include "repair/draft.hpp"

namespace cowvet::repair {

struct L1Table {
  std::string prefix;  // of its entries' paths: "" or "snapshot[2]."
  std::string id;      // of the snapshot; "" for the active layer
  std::uint64_t offset = 0, entries = 0;
  std::uint64_t disk = 0;  // bytes of the layer's disk
};

// Where what the layer maps ends, guest bytes: its disk, or a snapshot's VM state, which lies behind the disk.
[[nodiscard]] std::uint64_t mapped_end(const L1Table& l1, const format::Geometry& g);

// The L1 tables that lie inside the file, the active one first.
[[nodiscard]] std::vector<L1Table> l1_tables(const Draft& draft);

// The entries of an L1 table that have an offset; holes of the file cost nothing.
void for_each_entry(const Draft& draft, const L1Table& l1,
                    const std::function<void(std::uint64_t index, format::L1Entry entry)>& use);

// Makes what the L2 entry at `at` stores read as zeros, whatever lies below; subclusters that store nothing
// stay as they are.
[[nodiscard]] base::Result<void> read_as_zeros(Draft& draft, Action& action, std::uint64_t at);
// Whether it is a standard entry that already does, whatever its offset is.
[[nodiscard]] bool reads_as_zeros(const Draft& draft, std::uint64_t at);

struct L2Table {
  const L1Table& l1;
  std::uint64_t l1_index = 0;
  std::uint64_t offset = 0;
  std::span<const std::byte> bytes;
  [[nodiscard]] std::uint64_t word(const format::Geometry& g, std::uint64_t entry) const;
};
void for_each_table(const Draft& draft, const std::function<void(const L2Table&)>& use);

}  // namespace cowvet::repair
