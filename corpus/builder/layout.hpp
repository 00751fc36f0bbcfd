// Where each structure of a built image lies. It is what the builder knows about the image, taken before any damage and
// never read back from damaged bytes, so that a path means the same place whatever was done to the image since.
#pragma once
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "corpus/builder/sparse_bytes.hpp"
#include "format/geometry.hpp"

namespace cowvet::corpus {

// A run of bytes of the image file.
struct Region {
  std::uint64_t offset = 0, length = 0;
};

// What a metadata region is.
enum class Kind : std::uint8_t {
  header,
  extension,
  backing_name,
  refcount_table,
  refcount_block,
  l1,
  l2,
  snapshot_table,
  snapshot_l1,
  snapshot_l2,
  bitmap_directory,
  bitmap_table,
  bitmap_data,
  luks,
  reserved,  // clusters that a recipe took without an owner
};

struct NamedRegion {
  std::string path;  // as recipes write it, without the @: "snapshot[0].l1"
  Kind kind;
  Region region;
};

struct ExtensionPlace {
  std::uint32_t type = 0;
  std::uint64_t offset = 0;  // of its record; the data starts 8 bytes on
  std::uint32_t length = 0;  // of the data
};

// An L1 table and the L2 tables that it leads to.
struct MappingPlace {
  std::uint64_t l1_offset = 0;
  std::uint64_t l1_entries = 0;
  std::map<std::uint64_t, std::uint64_t> l2;  // by L1 index: the table's offset
  [[nodiscard]] Region l1() const { return {l1_offset, l1_entries * 8}; }
};

struct SnapshotPlace {
  std::uint64_t offset = 0;  // of its entry
  std::uint32_t extra_size = 0;
  std::uint16_t id_size = 0, name_size = 0;
  MappingPlace mapping;
};

struct BitmapPlace {
  std::uint64_t offset = 0;  // of its directory entry
  std::uint32_t extra_size = 0;
  std::uint16_t name_size = 0;
  Region table;
  std::map<std::uint64_t, std::uint64_t> data;  // by table index: the data cluster's offset
};

struct Layout {
  format::Geometry geometry = *format::Geometry::make(16, 4, false);
  std::uint32_t version = 3;
  std::uint64_t disk_size = 0;
  bool external_data = false;

  Region header;                           // the fixed header alone
  std::vector<ExtensionPlace> extensions;  // in file order, the end record last
  std::optional<Region> backing_name;
  Region refcount_table;
  std::map<std::uint64_t, std::uint64_t> refcount_blocks;  // by table index: the block's offset
  MappingPlace active;
  Region snapshot_table;  // without the padding of the last entry; empty: no snapshots
  std::vector<SnapshotPlace> snapshots;
  Region bitmap_directory;
  std::vector<BitmapPlace> bitmaps;
  std::optional<Region> luks;
  std::map<std::string, Region> reserved;  // by the name that the recipe gave
  SparseBytes pristine;                    // the image as it was before damage

  // All metadata, sorted by offset; a table that a snapshot shares with the active layer is listed once, as l2[i].
  [[nodiscard]] std::vector<NamedRegion> regions() const;

  // The L2 entry's place for a guest cluster in a mapping; nothing when there is no table.
  [[nodiscard]] std::optional<std::uint64_t> l2_entry_at(const MappingPlace& mapping,
                                                         std::uint64_t guest_cluster) const;
  // Where a guest cluster's bytes start in the image file (a compressed one's stream); nothing when it has none.
  [[nodiscard]] std::optional<Region> data_of(const MappingPlace& mapping, std::uint64_t guest_cluster) const;
  // The place of a cluster's refcount inside its block: offset of the first byte, lowest bit in it; nothing when the
  // image has no such block.
  struct RefcountPlace {
    std::uint64_t offset;
    std::size_t width;  // bytes to load
    std::uint32_t low_bit;
  };
  [[nodiscard]] std::optional<RefcountPlace> refcount_of(std::uint64_t cluster) const;
  [[nodiscard]] RefcountPlace refcount_in(std::uint64_t block_offset, std::uint64_t index) const;
};

}  // namespace cowvet::corpus
