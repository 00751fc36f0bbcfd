// Area 10, continued: what a snapshot table entry's extra data says about the snapshot's disk and its VM
// state, and where that state is stored: like guest data, behind the end of the snapshot's disk.
#pragma once

#include <string_view>

#include "findings/row.hpp"

namespace cowvet::findings::rules {

using namespace std::string_view_literals;

// clang-format off: a row is laid out by hand so that it reads as one.
inline constexpr Rule snapshot_state[] = {
    {.code = 1027, .name = "snapshot/extra-too-small"sv,
     .severity = Severity::error, .lesser = Severity::error, .reader = Reader::tolerate,
     .remedy = Remedy::rewrite_snapshot_table, .reason = Reason::repairable, .consent = Consent::lossless,
     .title = "a snapshot table entry has less extra data than version 3 demands"sv,
     .explanation =
         "In version 3 an entry has at least 16 bytes of extra data: the size of the VM state and the "
         "size of the disk. QEMU opens the image, its check counts the entry as corruption, and its "
         "repair writes the table anew. Without the field, the image's own disk size is assumed."sv,
     .consequence = "If the disk was resized since, the snapshot is read with the wrong size."sv,
     .advice = "Let a repair complete the table."sv,
     .spec = "Snapshots; D31"sv, .deep = false},
    {.code = 1028, .name = "snapshot/extra-too-large"sv,
     .severity = Severity::error, .lesser = Severity::error, .reader = Reader::refuse_write,
     .remedy = Remedy::none, .reason = Reason::n4_would_discard, .consent = Consent::none,
     .title = "a snapshot table entry has more extra data than QEMU accepts"sv,
     .explanation =
         "The format has no limit and wants unknown fields to be ignored; QEMU refuses images with more "
         "than 1024 bytes. Its repair discards the surplus, and if the length itself was damaged it loses "
         "the entries behind it and frees their clusters."sv,
     .consequence = "QEMU doesn't open the image, and its repair may lose snapshots."sv,
     .advice = "Don't run QEMU's repair; find out whether the length is right."sv,
     .spec = "implementation limit (QEMU); D35"sv, .deep = false, .refused_by_qemu = true},
    {.code = 1029, .name = "snapshot/extra-unknown"sv,
     .severity = Severity::note, .lesser = Severity::note, .reader = Reader::tolerate,
     .remedy = Remedy::none, .reason = Reason::n3_legal, .consent = Consent::none,
     .title = "a snapshot table entry has fields that are newer than this program"sv,
     .explanation = "Extra data beyond the known 24 bytes is ignored and kept."sv,
     .consequence = "None as long as programs that rewrite the table keep the bytes."sv,
     .advice = "Nothing to do."sv,
     .spec = "Snapshots"sv, .deep = false},
    {.code = 1030, .name = "snapshot/extra-v2"sv,
     .severity = Severity::note, .lesser = Severity::note, .reader = Reader::tolerate,
     .remedy = Remedy::none, .reason = Reason::n3_legal, .consent = Consent::none,
     .title = "a version 2 snapshot does not record its disk size"sv,
     .explanation =
         "In version 2 an entry may lack extra data; the snapshot's disk then has the size in the header. "
         "QEMU therefore refuses to resize such an image."sv,
     .consequence = "Resizing the image would change the snapshot."sv,
     .advice = "Don't resize the image; convert it to version 3 first."sv,
     .spec = "Snapshots"sv, .deep = false},
    {.code = 1031, .name = "snapshot/disk-size-multiple"sv,
     .severity = Severity::warning, .lesser = Severity::warning, .reader = Reader::tolerate,
     .remedy = Remedy::none, .reason = Reason::n2_two_readings, .consent = Consent::none,
     .title = "a snapshot's disk size is not a multiple of 512 bytes"sv,
     .explanation =
         "QEMU counts disks in sectors. It doesn't notice the size until the snapshot is applied, which "
         "fails."sv,
     .consequence = "The snapshot can't be applied with QEMU."sv,
     .advice = "Convert the snapshot to an image of its own."sv,
     .spec = "Snapshots"sv, .deep = false},
    {.code = 1032, .name = "snapshot/disk-size-limit"sv,
     .severity = Severity::error, .lesser = Severity::error, .reader = Reader::refuse_write,
     .remedy = Remedy::none, .reason = Reason::n1_not_recorded, .consent = Consent::none,
     .title = "a snapshot's disk size is impossibly large"sv,
     .explanation =
         "The size of a snapshot's disk has the same limit as that of the image, and needs no longer an "
         "L1 table than QEMU allows. QEMU doesn't check it, and applying the snapshot gives the disk the "
         "wrong size."sv,
     .consequence = "The snapshot's disk size is unknown; applying it spoils the active disk's size."sv,
     .advice = "Restore the size from the length of the snapshot's L1 table, in a copy."sv,
     .spec = "implementation limit (QEMU)"sv, .deep = false},
    {.code = 1033, .name = "snapshot/disk-size-differs"sv,
     .severity = Severity::note, .lesser = Severity::note, .reader = Reader::tolerate,
     .remedy = Remedy::none, .reason = Reason::n3_legal, .consent = Consent::none,
     .title = "a snapshot's disk has another size than the active disk"sv,
     .explanation =
         "That is legal: the disk was resized after the snapshot was taken. Applying the snapshot resizes "
         "it back."sv,
     .consequence = "None, if the resize was meant."sv,
     .advice = "Nothing to do."sv,
     .spec = "Snapshots"sv, .deep = false},
    {.code = 1034, .name = "snapshot/vm-state-sizes"sv,
     .severity = Severity::warning, .lesser = Severity::warning, .reader = Reader::tolerate,
     .remedy = Remedy::none, .reason = Reason::n2_two_readings, .consent = Consent::none,
     .title = "a snapshot's two VM state sizes contradict each other"sv,
     .explanation =
         "The 32-bit size equals the 64-bit one, or is 0 when 32 bits don't suffice. The 64-bit one "
         "counts. QEMU doesn't compare them."sv,
     .consequence = "If the 64-bit size is the damaged one, the VM state can't be loaded."sv,
     .advice = "Compare the sizes with the clusters behind the end of the snapshot's disk."sv,
     .spec = "Snapshots"sv, .deep = false},
    {.code = 1035, .name = "snapshot/vm-state-outside-l1"sv,
     .severity = Severity::error, .lesser = Severity::error, .reader = Reader::fail_read,
     .remedy = Remedy::none, .reason = Reason::n1_not_recorded, .consent = Consent::none,
     .title = "a snapshot's VM state reaches past its L1 table"sv,
     .explanation =
         "VM state is stored behind the end of the snapshot's disk, so the snapshot's L1 table covers it. "
         "QEMU doesn't check it."sv,
     .consequence = "The VM state can't be loaded; the snapshot's disk is not concerned."sv,
     .advice = "Apply the disk without the VM state, as if the machine had lost power."sv,
     .spec = "Snapshots"sv, .deep = false},
    {.code = 1036, .name = "snapshot/vm-state-missing"sv,
     .severity = Severity::warning, .lesser = Severity::warning, .reader = Reader::fail_read,
     .remedy = Remedy::none, .reason = Reason::n5_content_lost, .consent = Consent::none,
     .title = "a snapshot's VM state has unallocated parts"sv,
     .explanation =
         "The whole range of the VM state is allocated. A hole would read as zeros or from the backing "
         "file, which no VM state does. QEMU doesn't notice."sv,
     .consequence = "The VM state can't be loaded; the snapshot's disk is not concerned."sv,
     .advice = "Apply the disk without the VM state, as if the machine had lost power."sv,
     .spec = "Snapshots"sv, .deep = false},
    {.code = 1037, .name = "snapshot/vm-state-orphan"sv,
     .severity = Severity::note, .lesser = Severity::note, .reader = Reader::tolerate,
     .remedy = Remedy::none, .reason = Reason::n3_legal, .consent = Consent::none,
     .title = "a snapshot without VM state maps clusters behind its disk"sv,
     .explanation = "They hold what remains of a VM state, or the size of the VM state was lost."sv,
     .consequence = "If the size was lost, the machine's state can't be loaded."sv,
     .advice = "If the snapshot had a VM state, restore its size in a copy."sv,
     .spec = "Snapshots"sv, .deep = false},
    {.code = 1038, .name = "snapshot/lost"sv,
     .severity = Severity::error, .lesser = Severity::warning, .reader = Reader::refuse_write,
     .remedy = Remedy::rewrite_snapshot_table, .reason = Reason::repairable, .consent = Consent::choice,
     .title = "an internal snapshot is still in the file, but the header does not lead to it"sv,
     .explanation =
         "An entry of a snapshot table names an L1 table that is counted as used and that nothing else "
         "refers to. The number of snapshots or the table's offset was lost; or, which is harmless, a crash "
         "came while the snapshot was taken or deleted. QEMU calls all that only the snapshot owns a leak, and its leak repair destroys it."sv,
     .consequence = "The snapshot can't be listed or applied, and any leak repair destroys it for good."sv,
     .advice =
         "Don't free leaks and don't lower refcounts; if the snapshot was not deleted on purpose, have the "
         "snapshot table put back in a copy."sv,
     .spec = "Snapshots"sv, .deep = false},
    {.code = 1039, .name = "snapshot/table-offset-range"sv,
     .severity = Severity::fatal, .lesser = Severity::fatal, .reader = Reader::refuse_open,
     .remedy = Remedy::correct_header, .reason = Reason::repairable, .consent = Consent::lossy,
     .title = "the snapshot table's position is beyond every possible file"sv,
     .explanation =
         "The end of the snapshot table is at most 2^63 - 1. QEMU refuses the image, even if no snapshot is "
         "counted. The active disk can be read nevertheless."sv,
     .consequence =
         "QEMU doesn't open the image. Internal snapshots, if there are any, can't be reached, and what only "
         "they own looks like leaked space."sv,
     .advice = "Don't free leaks; look for the snapshot table among the unreferenced clusters."sv,
     .spec = "Header: snapshots_offset"sv, .deep = false},
    {.code = 1040, .name = "snapshot/extra-misstated"sv,
     .severity = Severity::error, .lesser = Severity::error, .reader = Reader::refuse_write,
     .remedy = Remedy::rewrite_snapshot_table, .reason = Reason::repairable, .consent = Consent::choice,
     .title = "the size of a snapshot's extra data is wrong: the entry makes sense with another"sv,
     .explanation =
         "The size says where the snapshot's id and name begin, and where the next entry does. As it is, "
         "they make no sense; with a size that writers use they do, so the field was damaged, and the entry "
         "is read with that size here. QEMU believes the field: it shows nonsense, loses the snapshots that "
         "follow, or refuses the image."sv,
     .consequence =
         "The snapshot and those behind it can't be named, applied or deleted; their clusters look leaked."sv,
     .advice = "Mend the field in a copy; don't free leaks and don't write snapshots before that."sv,
     .spec = "Snapshots"sv, .deep = false},
};
// clang-format on

}  // namespace cowvet::findings::rules
