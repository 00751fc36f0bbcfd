// Where the bytes of a virtual disk lie: the mapping of one layer, and of a chain of layers.
// Promises: an extent is told with everything that a reader of the disk must know; tables are read once each when asked
// in ascending order; memory is one L2 table and a piece of an L1 table a layer, whatever the disk's size.
// What it can't make sense of is an Error that names the place: judging damage is check's.
#pragma once
#include <cstdint>
#include <optional>
#include <vector>

#include "analyzer/chain.hpp"
#include "base/result.hpp"
#include "base/units.hpp"
#include "format/entries.hpp"
#include "format/geometry.hpp"
#include "format/header.hpp"
#include "storage/device.hpp"

namespace cowvet::analyzer {

// A run of guest bytes that are all stored in the same way. Not allocated: the layer below decides; without one, zeros.
struct GuestExtent {
  base::GuestOffset begin;
  std::uint64_t length = 0;
  bool allocated = false;  // this layer decides
  bool zero = false;       // reads as zeros, and that is known without reading
  bool data = false;       // content is stored
  bool compressed = false;
  std::optional<base::HostOffset> host = {};  // of the first byte, also where space is merely reserved

  [[nodiscard]] std::uint64_t end() const { return begin.raw() + length; }
};

// The mapping of one layer.
class Mapping {
 public:
  // The layer lives as long as the mapping.
  explicit Mapping(const Layer& layer);

  [[nodiscard]] std::uint64_t size() const { return layer_.info.virtual_size; }
  // The extent at `offset` < size(), beginning there; it ends where the storage changes, at the disk's end, or, long
  // runs being told in pieces, at the end of a table.
  [[nodiscard]] base::Result<GuestExtent> at(base::GuestOffset offset);

 private:
  [[nodiscard]] base::Result<GuestExtent> find(std::uint64_t offset);
  [[nodiscard]] base::Result<GuestExtent> find_in_l2(std::uint64_t offset);
  [[nodiscard]] base::Result<GuestExtent> entry_at(std::uint64_t offset) const;
  [[nodiscard]] base::Result<std::uint64_t> l1_entry(std::uint64_t index);
  [[nodiscard]] base::Result<void> load_l2(std::uint64_t l1_index, std::uint64_t table_offset);
  void look_for_holes(GuestExtent& extent);
  [[nodiscard]] bool preallocated();
  [[nodiscard]] GuestExtent raw_extent(std::uint64_t offset) const;

  const Layer& layer_;
  GuestExtent current_;                    // the last one found
  std::uint64_t l1_first_ = 0;             // entry that l1_ begins with
  std::vector<std::byte> l1_, l2_;         // a piece of the L1 table; the L2 table of l2_index_
  std::optional<std::uint64_t> l2_index_;  // in the L1 table
  std::optional<bool> preallocated_;
};

// An extent of a chain.
struct ChainExtent {
  GuestExtent extent;     // `zero` is settled: what no layer has reads as zeros
  std::size_t depth = 0;  // of the layer that decides
};

// Goes through the disk of the top layer.
class ChainMapping {
 public:
  explicit ChainMapping(const std::vector<Layer>& layers);
  [[nodiscard]] std::uint64_t size() const { return layers_.front().size(); }
  // The extent at `offset` < size(), at most up to `end` > offset; neighbours that continue it are merged.
  [[nodiscard]] base::Result<ChainExtent> at(base::GuestOffset offset, std::uint64_t end);

 private:
  [[nodiscard]] base::Result<ChainExtent> piece(std::uint64_t offset, std::uint64_t end);
  std::vector<Mapping> layers_;
};

// Whether more clusters are counted as used than the file really holds, as after creating an image with
// preallocation=metadata: then holes of the file may lie under data. QEMU's criterion, so that `map` agrees.
[[nodiscard]] bool metadata_preallocated(const storage::Device& device, const format::Header& header,
                                         const format::Geometry& geometry);

}  // namespace cowvet::analyzer
