// The checks of one entry of the snapshot table, and what several checks need to know of a snapshot.
#pragma once
#include <cstdint>
#include <string>

#include "analyzer/image.hpp"
#include "findings/finding.hpp"

namespace cowvet::analyzer {

// Bytes of the snapshot's disk: its own size, or the image's where the entry records none.
[[nodiscard]] std::uint64_t disk_size_of(const Image& image, const format::Snapshot& snapshot);
// Whether that size is one that a disk can have; only then is it known where the VM state begins.
[[nodiscard]] bool disk_size_possible(const Image& image, const format::Snapshot& snapshot);
// The whole disk of the snapshot, as what is at stake.
[[nodiscard]] findings::GuestRange disk_of(const Image& image, const format::Snapshot& snapshot);
// A finding about the size of the snapshot's VM state: about the 64-bit field where there is one. The entry
// lies at `at`.
[[nodiscard]] findings::Finding vm_size_finding(findings::RuleId rule, const SnapshotState& state,
                                                base::HostOffset at);

// Whether the entry's lengths are such as writers store: QEMU can address the texts and takes the extra data.
[[nodiscard]] bool usual_lengths(const format::SnapshotEntry& entry);
// Whether the entry looks like one that a writer made, judged by itself: its L1 table is inside the file, its lengths
// and its time are usual ones. Says nothing about an entry that is merely unusual.
[[nodiscard]] bool plausible(const Image& image, const format::Snapshot& snapshot);

// Judges the entry at `at`, sets l1_usable, adds the L1 table's region, and leaves a doubt where what the snapshot owns
// can't be known. Texts may be cut afterwards; nothing here compares entries with each other.
void check_snapshot_entry(Image& image, SnapshotState& state, base::HostOffset at);

}  // namespace cowvet::analyzer
