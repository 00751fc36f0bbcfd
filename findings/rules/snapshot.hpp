// Area 10, snapshot: the table of internal snapshots, its entries, and the L1 tables that the entries name.
// What L1 and L2 tables contain is judged by the rules of areas l1 and l2 for snapshots as well (the finding
// names the snapshot), so there is no rule here for their content. The area goes on in snapshot_state.hpp.
#pragma once

#include <string_view>

#include "findings/row.hpp"

namespace cowvet::findings::rules {

using namespace std::string_view_literals;

// clang-format off: a row is laid out by hand so that it reads as one.
inline constexpr Rule snapshot[] = {
    {.code = 1001, .name = "snapshot/table-offset-unaligned"sv,
     .severity = Severity::fatal, .lesser = Severity::fatal, .reader = Reader::refuse_open,
     .remedy = Remedy::correct_header, .reason = Reason::repairable, .consent = Consent::lossy,
     .title = "the snapshot table does not begin at a cluster boundary"sv,
     .explanation =
         "snapshots_offset is a multiple of the cluster size. QEMU refuses the image, even if no snapshot is "
         "counted, and its check can't even begin. The active disk can be read nevertheless."sv,
     .consequence =
         "The internal snapshots can't be reached, and what only they own looks like leaked space."sv,
     .advice = "Don't free leaks; look for the snapshot table among the unreferenced clusters."sv,
     .spec = "Header: snapshots_offset"sv, .deep = false, .refused_by_qemu = true},
    {.code = 1002, .name = "snapshot/count-limit"sv,
     .severity = Severity::fatal, .lesser = Severity::fatal, .reader = Reader::refuse_write,
     .remedy = Remedy::correct_header, .reason = Reason::repairable, .consent = Consent::lossy,
     .title = "the header states more than 65536 internal snapshots"sv,
     .explanation =
         "QEMU allows 65536 snapshots, so the number is probably damaged. QEMU's repair stores 65536 and "
         "reads the bytes behind the real table as further entries, then fails and marks the image as "
         "corrupt."sv,
     .consequence =
         "Where the snapshot table ends is unknown; a shortened list makes the dropped snapshots look "
         "like leaked space."sv,
     .advice = "Count the entries that make sense, and mend the number in a copy; don't run QEMU's repair."sv,
     .spec = "implementation limit (QEMU)"sv, .deep = false, .refused_by_qemu = true},
    {.code = 1003, .name = "snapshot/table-size-limit"sv,
     .severity = Severity::fatal, .lesser = Severity::fatal, .reader = Reader::refuse_write,
     .remedy = Remedy::none, .reason = Reason::n4_would_discard, .consent = Consent::none,
     .title = "the snapshot table is longer than 64 MiB"sv,
     .explanation =
         "QEMU refuses a snapshot table of more than 64 MiB; its repair drops the snapshots beyond the "
         "limit."sv,
     .consequence = "QEMU doesn't open the image, and its repair loses snapshots."sv,
     .advice =
         "Remove snapshots with a program that can read the table, or mend the damaged length in a copy."sv,
     .spec = "implementation limit (QEMU)"sv, .deep = false, .refused_by_qemu = true},
    {.code = 1004, .name = "snapshot/table-past-eof"sv,
     .severity = Severity::error, .lesser = Severity::error, .reader = Reader::refuse_write,
     .remedy = Remedy::rewrite_snapshot_table, .reason = Reason::repairable, .consent = Consent::choice,
     .title = "the snapshot table reaches past the end of the file"sv,
     .explanation =
         "Every entry lies inside the file, except the padding of the last one. QEMU lists empty "
         "snapshots for the missing part, and its repair stores nameless empty entries and frees the "
         "clusters of the real ones."sv,
     .consequence =
         "The snapshots behind this point are lost, and what only they own looks like leaked space."sv,
     .advice = "If the file was cut, get the missing part; don't run any repair on this file."sv,
     .spec = "Snapshots; D34"sv, .deep = false},
    {.code = 1005, .name = "snapshot/count-mismatch"sv,
     .severity = Severity::error, .lesser = Severity::note, .reader = Reader::refuse_write,
     .remedy = Remedy::correct_header, .reason = Reason::repairable, .consent = Consent::choice,
     .title = "the number of snapshots does not fit the entries in the table"sv,
     .explanation =
         "After the stated number of entries the rest of the table's last cluster is zero. What looks "
         "like a further entry suggests that the number was lowered, by deleting a snapshot or by damage; "
         "an entry of zeros inside the number suggests that it was raised. QEMU calls what belongs to an "
         "entry outside the number a leak, and its leak repair frees it."sv,
     .consequence = "A snapshot may be hidden from view, and what only it owns looks like leaked space."sv,
     .advice = "Don't free leaks before the number of snapshots is clear."sv,
     .spec = "Header: nb_snapshots"sv, .deep = false},
    {.code = 1006, .name = "snapshot/entry-bounds"sv,
     .severity = Severity::error, .lesser = Severity::error, .reader = Reader::refuse_write,
     .remedy = Remedy::rewrite_snapshot_table, .reason = Reason::repairable, .consent = Consent::choice,
     .title = "a snapshot table entry's lengths do not fit"sv,
     .explanation =
         "Fixed part, extra data, id and name fit into what remains of the table. A wrong length shifts "
         "every later entry, so parsing stops here. QEMU goes on with whatever it finds, and its repair "
         "rewrites the table from the misread entries."sv,
     .consequence =
         "This snapshot and all behind it can't be reached, and what only they own looks like leaked "
         "space."sv,
     .advice = "Mend the length in a copy; don't run QEMU's repair and don't free leaks."sv,
     .spec = "Snapshots"sv, .deep = false},
    {.code = 1007, .name = "snapshot/l1-offset-unaligned"sv,
     .severity = Severity::error, .lesser = Severity::error, .reader = Reader::fail_read,
     .remedy = Remedy::drop_snapshot, .reason = Reason::repairable, .consent = Consent::lossy,
     .title = "a snapshot's L1 table does not begin at a cluster boundary"sv,
     .explanation =
         "The L1 table of a snapshot begins at a cluster boundary. QEMU's check then skips the snapshot, "
         "and its leak repair frees what only the snapshot owned."sv,
     .consequence = "The snapshot can't be read, and what only it owns looks like leaked space."sv,
     .advice = "Look for the L1 table among the unreferenced clusters; don't free leaks."sv,
     .spec = "Snapshots"sv, .deep = false},
    {.code = 1008, .name = "snapshot/l1-offset-zero"sv,
     .severity = Severity::error, .lesser = Severity::error, .reader = Reader::fail_read,
     .remedy = Remedy::drop_snapshot, .reason = Reason::repairable, .consent = Consent::lossy,
     .title = "a snapshot's L1 table has offset zero, where the header is"sv,
     .explanation =
         "Offset 0 holds the header. QEMU's check reads the header as an L1 table, and its repair frees "
         "what only the snapshot owned."sv,
     .consequence = "The snapshot can't be read, and what only it owns looks like leaked space."sv,
     .advice = "Look for the L1 table among the unreferenced clusters; don't free leaks."sv,
     .spec = "Snapshots"sv, .deep = false},
    {.code = 1009, .name = "snapshot/l1-size-limit"sv,
     .severity = Severity::error, .lesser = Severity::error, .reader = Reader::fail_read,
     .remedy = Remedy::drop_snapshot, .reason = Reason::repairable, .consent = Consent::lossy,
     .title = "a snapshot's L1 table is longer than 32 MiB"sv,
     .explanation =
         "QEMU allows 4194304 entries, so the length is probably damaged. QEMU's check then skips the "
         "snapshot, and its repair frees what only the snapshot owned."sv,
     .consequence = "The snapshot can't be read, and what only it owns looks like leaked space."sv,
     .advice = "Restore the length from the snapshot's disk size, in a copy; don't free leaks."sv,
     .spec = "implementation limit (QEMU)"sv, .deep = false},
    {.code = 1010, .name = "snapshot/l1-past-eof"sv,
     .severity = Severity::error, .lesser = Severity::error, .reader = Reader::fail_read,
     .remedy = Remedy::drop_snapshot, .reason = Reason::repairable, .consent = Consent::lossy,
     .title = "a snapshot's L1 table reaches past the end of the file"sv,
     .explanation = "The L1 table lies inside the file. QEMU's repair frees what only the snapshot owned."sv,
     .consequence =
         "At least a part of the snapshot can't be read, and what only it owns looks like leaked space."sv,
     .advice = "If the file was cut, get the missing part; don't free leaks."sv,
     .spec = "Snapshots; D34"sv, .deep = false},
    {.code = 1011, .name = "snapshot/l1-size-zero"sv,
     .severity = Severity::error, .lesser = Severity::error, .reader = Reader::fail_read,
     .remedy = Remedy::drop_snapshot, .reason = Reason::repairable, .consent = Consent::lossy,
     .title = "a snapshot of a disk has an L1 table without entries"sv,
     .explanation =
         "Only a snapshot of an empty disk has no L1 entries. QEMU doesn't notice, calls the snapshot's "
         "clusters leaks, and its leak repair frees them."sv,
     .consequence = "The snapshot reads as empty, and what only it owns looks like leaked space."sv,
     .advice = "Restore the length from the snapshot's disk size, in a copy; don't free leaks."sv,
     .spec = "Snapshots"sv, .deep = false},
    {.code = 1012, .name = "snapshot/l1-too-small"sv,
     .severity = Severity::error, .lesser = Severity::error, .reader = Reader::fail_read,
     .remedy = Remedy::none, .reason = Reason::n1_not_recorded, .consent = Consent::none,
     .title = "a snapshot's L1 table is too small for its disk size"sv,
     .explanation =
         "The L1 table has an entry for every stretch of the snapshot's disk that one L2 table covers. "
         "QEMU doesn't notice, and fills up with unallocated entries when it applies the snapshot."sv,
     .consequence =
         "The end of the snapshot's disk can't be read, or is zeros after the snapshot was applied."sv,
     .advice =
         "Find out whether the size or the length is wrong before the snapshot is applied or deleted."sv,
     .spec = "Snapshots"sv, .deep = false},
    {.code = 1013, .name = "snapshot/l1-shared"sv,
     .severity = Severity::error, .lesser = Severity::error, .reader = Reader::refuse_write,
     .remedy = Remedy::copy_table, .reason = Reason::repairable, .consent = Consent::choice,
     .title = "two internal snapshots use the same L1 table"sv,
     .explanation =
         "Each snapshot has its own copy of the L1 table. QEMU's check sees a wrong refcount only, and "
         "its repair raises it, after which the image is called clean and the table is still shared."sv,
     .consequence =
         "Deleting one of the snapshots frees the other's table; one of them shows the wrong content "
         "already."sv,
     .advice = "Don't delete snapshots before the table was copied."sv,
     .spec = "Snapshots"sv, .deep = false},
    {.code = 1014, .name = "snapshot/id-duplicate"sv,
     .severity = Severity::error, .lesser = Severity::error, .reader = Reader::refuse_write,
     .remedy = Remedy::rewrite_snapshot_table, .reason = Reason::repairable, .consent = Consent::choice,
     .title = "two internal snapshots have the same id"sv,
     .explanation = "Ids are unique. QEMU doesn't check it and acts on the first match."sv,
     .consequence = "A command that names a snapshot by id may apply or delete the wrong one."sv,
     .advice = "Address the snapshots by name, and give one of them a new id."sv,
     .spec = "Snapshots; D26"sv, .deep = false},
    {.code = 1015, .name = "snapshot/id-empty"sv,
     .severity = Severity::warning, .lesser = Severity::warning, .reader = Reader::tolerate,
     .remedy = Remedy::none, .reason = Reason::n2_two_readings, .consent = Consent::none,
     .title = "an internal snapshot has an empty id"sv,
     .explanation = "The id identifies the snapshot, so it has at least one byte. QEMU doesn't check it."sv,
     .consequence = "No command can name the snapshot by id."sv,
     .advice = "Address the snapshot by name."sv,
     .spec = "Snapshots"sv, .deep = false},
    {.code = 1016, .name = "snapshot/id-text"sv,
     .severity = Severity::warning, .lesser = Severity::warning, .reader = Reader::tolerate,
     .remedy = Remedy::none, .reason = Reason::n2_two_readings, .consent = Consent::none,
     .title = "an internal snapshot's id is not clean text"sv,
     .explanation =
         "The id is text without NUL and control characters; QEMU makes decimal numbers. QEMU cuts it at "
         "a NUL."sv,
     .consequence = "Commands may not find the snapshot, or may find another one."sv,
     .advice = "Address the snapshot by name."sv,
     .spec = "Snapshots"sv, .deep = false},
    {.code = 1017, .name = "snapshot/id-length"sv,
     .severity = Severity::note, .lesser = Severity::note, .reader = Reader::tolerate,
     .remedy = Remedy::none, .reason = Reason::n3_legal, .consent = Consent::none,
     .title = "an internal snapshot's id is too long for QEMU to address"sv,
     .explanation = "Ids of up to 65535 bytes are legal. QEMU cuts them at 127 bytes."sv,
     .consequence = "QEMU's commands can't name the snapshot by id."sv,
     .advice = "Address the snapshot by name."sv,
     .spec = "implementation limit (QEMU)"sv, .deep = false},
    {.code = 1018, .name = "snapshot/name-duplicate"sv,
     .severity = Severity::warning, .lesser = Severity::warning, .reader = Reader::tolerate,
     .remedy = Remedy::none, .reason = Reason::n2_two_readings, .consent = Consent::none,
     .title = "two internal snapshots have the same name"sv,
     .explanation = "Names need not be unique, but QEMU's commands take the first match."sv,
     .consequence = "A command that names a snapshot by name may apply or delete the wrong one."sv,
     .advice = "Address the snapshots by id."sv,
     .spec = "Snapshots"sv, .deep = false},
    {.code = 1019, .name = "snapshot/name-text"sv,
     .severity = Severity::warning, .lesser = Severity::warning, .reader = Reader::tolerate,
     .remedy = Remedy::none, .reason = Reason::n2_two_readings, .consent = Consent::none,
     .title = "an internal snapshot's name is not clean text"sv,
     .explanation =
         "The name is text without NUL and control characters. QEMU prints control characters unchanged, "
         "so that a terminal interprets them."sv,
     .consequence =
         "Commands may not find the snapshot; a terminal may interpret the name when QEMU lists it."sv,
     .advice = "Address the snapshot by id."sv,
     .spec = "Snapshots"sv, .deep = false},
    {.code = 1020, .name = "snapshot/name-length"sv,
     .severity = Severity::note, .lesser = Severity::note, .reader = Reader::tolerate,
     .remedy = Remedy::none, .reason = Reason::n3_legal, .consent = Consent::none,
     .title = "an internal snapshot's name is too long for QEMU to address"sv,
     .explanation = "Names of up to 65535 bytes are legal. QEMU cuts them at 255 bytes."sv,
     .consequence = "QEMU's commands can't name the snapshot by name."sv,
     .advice = "Address the snapshot by id."sv,
     .spec = "implementation limit (QEMU)"sv, .deep = false},
    {.code = 1021, .name = "snapshot/name-shadows-id"sv,
     .severity = Severity::note, .lesser = Severity::note, .reader = Reader::tolerate,
     .remedy = Remedy::none, .reason = Reason::n3_legal, .consent = Consent::none,
     .title = "an internal snapshot's name is another one's id"sv,
     .explanation = "It is legal, but some commands look for an id first and others for a name."sv,
     .consequence = "A command may apply or delete the wrong one of the two snapshots."sv,
     .advice = "Rename the snapshot."sv,
     .spec = "Snapshots"sv, .deep = false},
    {.code = 1022, .name = "snapshot/date-range"sv,
     .severity = Severity::warning, .lesser = Severity::warning, .reader = Reader::tolerate,
     .remedy = Remedy::none, .reason = Reason::n2_two_readings, .consent = Consent::none,
     .title = "an internal snapshot's time has a billion nanoseconds or more"sv,
     .explanation = "The nanoseconds are below 1000000000. QEMU doesn't check it."sv,
     .consequence =
         "The time shown for the snapshot is wrong; if more of the entry was overwritten, the snapshot is "
         "damaged."sv,
     .advice = "Compare the entry's other fields with what they should be."sv,
     .spec = "Snapshots"sv, .deep = false},
    {.code = 1023, .name = "snapshot/date-order"sv,
     .severity = Severity::note, .lesser = Severity::note, .reader = Reader::tolerate,
     .remedy = Remedy::none, .reason = Reason::n3_legal, .consent = Consent::none,
     .title = "internal snapshots' times do not grow, or lie in the future"sv,
     .explanation =
         "Snapshots are appended, so their times grow unless the clock was changed or an entry was "
         "imported or altered."sv,
     .consequence = "None for the data; the order of the snapshots is doubtful."sv,
     .advice = "Nothing to do, unless the order matters as evidence."sv,
     .spec = "Snapshots"sv, .deep = false},
    {.code = 1024, .name = "snapshot/order-evidence"sv,
     .severity = Severity::note, .lesser = Severity::note, .reader = Reader::tolerate,
     .remedy = Remedy::none, .reason = Reason::n3_legal, .consent = Consent::none,
     .title = "there are gaps between the internal snapshots' ids"sv,
     .explanation =
         "QEMU gives each snapshot the next number, so a gap shows that a snapshot was deleted, or lost."sv,
     .consequence = "None if the snapshot was deleted on purpose."sv,
     .advice = "If no snapshot was deleted, look for the lost one among the unreferenced clusters."sv,
     .spec = "Snapshots"sv, .deep = false},
    {.code = 1025, .name = "snapshot/padding-nonzero"sv,
     .severity = Severity::note, .lesser = Severity::note, .reader = Reader::tolerate,
     .remedy = Remedy::none, .reason = Reason::n3_legal, .consent = Consent::none,
     .title = "the padding behind a snapshot table entry is not zero"sv,
     .explanation =
         "Entries are padded to a multiple of 8 bytes; the format doesn't demand zeros, but writers store "
         "them."sv,
     .consequence = "None; the bytes may be a remnant or hidden data."sv,
     .advice = "Nothing to do."sv,
     .spec = "Snapshots"sv, .deep = false},
    {.code = 1026, .name = "snapshot/with-data-file"sv,
     .severity = Severity::error, .lesser = Severity::error, .reader = Reader::refuse_write,
     .remedy = Remedy::none, .reason = Reason::n2_two_readings, .consent = Consent::none,
     .title = "an image with an external data file has internal snapshots"sv,
     .explanation =
         "Internal snapshots can't work with an external data file, since each guest cluster has one "
         "place there. QEMU opens the image and complains only in its check."sv,
     .consequence = "A snapshot doesn't keep the data as it was; applying it shows the wrong content."sv,
     .advice = "Don't apply the snapshots; find out whether the external data file bit is right."sv,
     .spec = "Snapshots; D27"sv, .deep = false},
};
// clang-format on

}  // namespace cowvet::findings::rules
