// Where the VM state of each snapshot lies, and whether it is all there.
#pragma once
#include <span>

#include "analyzer/image.hpp"

namespace cowvet::analyzer {

// Judges the VM state of every snapshot with a usable L1 table: snapshot/vm-state-outside-l1, -missing and -orphan.
// `entries` says where each element of image.snapshots has its entry in the file. Reads the L1 entries and L2 tables
// behind the snapshots' disks, each once a snapshot, until it has read about twice what the file holds; then
// security/snapshot-work says that the rest was not looked at.
void check_vm_states(Image& image, std::span<const base::HostOffset> entries);

}  // namespace cowvet::analyzer
