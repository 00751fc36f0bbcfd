// Snapshots that a table in the file names, but not the header. Promises: one is called lost only when its L1 table is
// counted as used and has no owner, so a deleted one is never; memory follows what an entry is worth keeping.
#pragma once
#include <string>

#include "analyzer/image.hpp"

namespace cowvet::analyzer {

// Remembers the snapshot of an entry of the table at `table`, if it can be one and is not known yet.
void add_unlisted(Image& image, format::Snapshot&& snapshot, base::HostOffset table);
// Remembers the snapshots of a table that the header does not vouch for, up to the first implausible entry. Returns how
// many it names, known or not.
std::size_t read_unlisted(Image& image, base::HostOffset table);

struct Listed {
  std::size_t entries = 0;
  bool lost = false;  // one of them is among the unlisted snapshots
};
// What a snapshot table lists, when it is known which snapshots were lost.
[[nodiscard]] Listed list_entries(Image& image, base::HostOffset table);

// "the lost snapshot "first" (id 1)", for findings.
[[nodiscard]] std::string lost_name(const format::Snapshot& snapshot);
// Says that the snapshot is lost.
void report_lost(Image& image, const UnlistedSnapshot& snapshot);

}  // namespace cowvet::analyzer
