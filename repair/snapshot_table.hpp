// Writing a snapshot table anew, and snapshots that get into it without an entry of their own. Promises: the
// old table stays where it is; the header changes in one write.
#pragma once
#include <string>
#include <vector>

#include "format/snapshot.hpp"
#include "repair/remedies.hpp"

namespace cowvet::repair {

// A snapshot with the first number that none of `listed` has as its id; `name` is followed by the number.
[[nodiscard]] format::Snapshot new_snapshot(const Draft& draft, const std::vector<format::Snapshot>& listed,
                                            std::string_view name, base::HostOffset l1,
                                            std::uint64_t l1_entries, std::uint64_t disk_size);

// Writes `listed` as the table, behind all that is in the file. Does nothing where there is no room.
[[nodiscard]] Remedied store_snapshots(Draft& draft, Action& action, std::vector<format::Snapshot>& listed);

// Whether a cluster holds what was the snapshot table before it was written anew: it begins with a snapshot
// that is listed now. Such a cluster is no lost data, in this repair and in a later one.
[[nodiscard]] bool was_snapshot_table(const Draft& draft, std::uint64_t cluster);

}  // namespace cowvet::repair
