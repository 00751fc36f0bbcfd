// The snapshot table as a list. Promises: only a table that was read whole, within the format's limits, is handed on.
#pragma once
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "base/result.hpp"
#include "engine/medium.hpp"
#include "format/geometry.hpp"
#include "format/header.hpp"
#include "format/snapshot.hpp"

namespace cowvet::engine {

struct SnapshotTable {
  std::vector<format::Snapshot> list;
  std::uint64_t length = 0;  // bytes in the file, the last entry's padding left out
};

[[nodiscard]] base::Result<SnapshotTable> read_snapshot_table(const Medium& file,
                                                              const format::Header& header,
                                                              const format::Geometry& geometry);

// The index of the snapshot with this id, or else with this name. Error usage: there is none.
[[nodiscard]] base::Result<std::size_t> find_snapshot(const std::vector<format::Snapshot>& list,
                                                      std::string_view name);

// A table of `entries` L1 entries. Errors: io when it does not lie in the file whole.
[[nodiscard]] base::Result<std::vector<std::uint64_t>> read_l1(const Medium& file, base::HostOffset at,
                                                               std::uint64_t entries, std::string_view what);
// The same of a snapshot, whose fields are checked first.
[[nodiscard]] base::Result<std::vector<std::uint64_t>> read_snapshot_l1(const Medium& file,
                                                                        const format::Geometry& geometry,
                                                                        const format::Snapshot& snapshot);

}  // namespace cowvet::engine
