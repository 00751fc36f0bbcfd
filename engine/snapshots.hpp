// Internal snapshots: taking, applying, removing. Promises: until the one write of the header that makes the
// change, a crash leaves the image as it was, with clusters leaked; after it, as asked for.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "engine/changes.hpp"
#include "engine/cluster_writer.hpp"
#include "engine/image.hpp"
#include "engine/mapping_tree.hpp"
#include "engine/scrap.hpp"

namespace cowvet::engine {

// What a new snapshot says of itself.
struct SnapshotFields {
  std::string_view id = {};  // empty: the next number
  std::string_view name;
  std::uint32_t date_sec = 0, date_nsec = 0;
  std::uint64_t vm_clock_nsec = 0, icount = 0;
};

class Snapshots {
 public:
  Snapshots(Image& image, Changes& changes, ClusterWriter& writer)
      : image_(image), changes_(changes), writer_(writer), tree_(image, changes) {}

  // The new snapshot is the last of image.snapshots. `vm_state`: bytes of VM state that belong to it.
  // Error usage: the id is taken.
  [[nodiscard]] base::Result<void> create(const SnapshotFields& fields, std::uint64_t vm_state);
  [[nodiscard]] base::Result<void> apply(std::size_t index);
  [[nodiscard]] base::Result<void> remove(std::size_t index);
  // Gives every entry the extra data that version 3 demands.
  [[nodiscard]] base::Result<void> complete_entries();

 private:
  // Writes a snapshot table to new clusters, counted but not durable.
  [[nodiscard]] base::Result<Clusters> place_table(const std::vector<format::Snapshot>& list,
                                                   std::uint64_t& length);
  // Names another snapshot table, durably, and gives the old one up.
  [[nodiscard]] base::Result<void> switch_table(std::vector<format::Snapshot> list, Clusters table,
                                                std::uint64_t length);
  [[nodiscard]] std::string next_id() const;
  [[nodiscard]] ScrapTable table_at(Clusters clusters, std::size_t entries) const;

  Image& image_;
  Changes& changes_;
  ClusterWriter& writer_;
  MappingTree tree_;
};

}  // namespace cowvet::engine
