// Area 6, l1: entries of L1 tables, and the active L1 table's place in the file. The rules for entries apply
// to the L1 tables of internal snapshots too, except those on the COPIED bit, which means nothing there; the
// finding names the snapshot.
#pragma once

#include <string_view>

#include "findings/row.hpp"

namespace cowvet::findings::rules {

using namespace std::string_view_literals;

// clang-format off: a row is laid out by hand so that it reads as one.
inline constexpr Rule l1[] = {
    {.code = 601, .name = "l1/table-past-eof"sv,
     .severity = Severity::fatal, .lesser = Severity::fatal, .reader = Reader::refuse_open,
     .remedy = Remedy::relink_structure, .reason = Reason::repairable, .consent = Consent::choice,
     .title = "the L1 table reaches past the end of the file"sv,
     .explanation =
         "The whole active L1 table lies inside the file. QEMU serves zeros or the backing file's data "
         "for the missing part. Its check notices only when a whole cluster is missing, and its repair "
         "then frees every data cluster, in one case calling the emptied image clean."sv,
     .consequence =
         "The disk below the missing entries can't be reached and looks like leaked space; a repair by "
         "QEMU destroys it."sv,
     .advice = "If the file was cut, get the missing part; don't run any repair on this file."sv,
     .spec = "Header: l1_table_offset; D34"sv, .deep = false},
    {.code = 602, .name = "l1/entry-reserved"sv,
     .severity = Severity::error, .lesser = Severity::error, .reader = Reader::refuse_write,
     .remedy = Remedy::clear_reserved_bits, .reason = Reason::repairable, .consent = Consent::choice,
     .title = "an L1 entry has reserved bits set"sv,
     .explanation =
         "Bits 0 to 8 and 56 to 62 are zero. A set bit shows that the entry was overwritten or hit by a "
         "bit flip, so its offset is doubtful too. QEMU's check reports it, no repair mends it, and "
         "reading and writing go on through the offset."sv,
     .consequence = "The guest range behind this entry may be read from a wrong table."sv,
     .advice =
         "Compare the table found at the offset with its refcount; clear the bits only if both are "
         "plausible."sv,
     .spec = "L1 table entry"sv, .deep = false},
    {.code = 603, .name = "l1/entry-unaligned"sv,
     .severity = Severity::error, .lesser = Severity::error, .reader = Reader::fail_read,
     .remedy = Remedy::reattach_table, .reason = Reason::repairable, .consent = Consent::choice,
     .title = "an L1 entry points to an L2 table that is not cluster aligned"sv,
     .explanation =
         "L2 tables take whole clusters. Rounding the offset would pick a neighbour's table. QEMU's check "
         "reads a table from the odd place, counts what it finds there, and its repair writes into it; "
         "reads fail and writes mark the image as corrupt."sv,
     .consequence = "The guest range behind this entry can't be read."sv,
     .advice =
         "Look for the real L2 table among the unreferenced clusters; don't run a repair that isn't "
         "planned first."sv,
     .spec = "L1 table entry"sv, .deep = false},
    {.code = 604, .name = "l1/entry-past-eof"sv,
     .severity = Severity::error, .lesser = Severity::error, .reader = Reader::fail_read,
     .remedy = Remedy::give_up_content, .reason = Reason::repairable, .consent = Consent::lossy,
     .title = "an L1 entry points to an L2 table past the end of the file"sv,
     .explanation =
         "Every L2 table lies inside the file. QEMU reads zeros for the whole range without an error, and "
         "its repair frees the clusters that the lost table owned."sv,
     .consequence =
         "The guest sees zeros instead of its data in this range; the data itself may still be in the "
         "file, where it looks leaked."sv,
     .advice = "If the file was cut, get the missing part; don't free leaks."sv,
     .spec = "L1 table entry"sv, .deep = false},
    {.code = 605, .name = "l1/entry-partial-eof"sv,
     .severity = Severity::error, .lesser = Severity::error, .reader = Reader::fail_read,
     .remedy = Remedy::give_up_content, .reason = Reason::repairable, .consent = Consent::lossy,
     .title = "an L2 table is cut off by the end of the file"sv,
     .explanation =
         "An L2 table is complete in the file. QEMU takes the missing entries for unallocated clusters "
         "and doesn't notice."sv,
     .consequence =
         "The guest sees zeros or the backing file's data where the missing entries should lead to its "
         "data."sv,
     .advice = "If the file was cut, get the missing part; don't free leaks."sv,
     .spec = "L1 table entry; D34"sv, .deep = false},
    {.code = 606, .name = "l1/copied-without-offset"sv,
     .severity = Severity::error, .lesser = Severity::error, .reader = Reader::refuse_write,
     .remedy = Remedy::clear_entry, .reason = Reason::repairable, .consent = Consent::lossless,
     .title = "an L1 entry without offset has the COPIED bit set"sv,
     .explanation =
         "Offset 0 means that the whole range is unallocated, so there is nothing that could be copied. "
         "The offset may have been lost. QEMU's check walks the header as an L2 table and reports dozens "
         "of false errors; a write to the range aborts QEMU."sv,
     .consequence =
         "If the offset was lost, the guest range reads as unallocated, and its data looks like leaked "
         "space."sv,
     .advice = "Look for an orphan L2 table among the unreferenced clusters before the entry is cleared."sv,
     .spec = "L1 table entry; D30"sv, .deep = false},
    {.code = 607, .name = "l1/copied-set-shared"sv,
     .severity = Severity::error, .lesser = Severity::error, .reader = Reader::refuse_write,
     .remedy = Remedy::clear_copied, .reason = Reason::repairable, .consent = Consent::lossless,
     .title = "an L2 table is marked as exclusively owned, but it is shared"sv,
     .explanation =
         "In the active L1 table the COPIED bit says that the L2 table has exactly one reference, so that "
         "it may be changed in place. QEMU's check repairs the bit."sv,
     .consequence = "A write by the guest changes an internal snapshot too."sv,
     .advice = "Don't write to the image before the bit is cleared; clearing it is always safe."sv,
     .spec = "L1 table entry"sv, .deep = false},
    {.code = 608, .name = "l1/copied-clear-exclusive"sv,
     .severity = Severity::leak, .lesser = Severity::leak, .reader = Reader::tolerate,
     .remedy = Remedy::set_copied, .reason = Reason::repairable, .consent = Consent::lossless,
     .title = "an exclusively owned L2 table is not marked as such"sv,
     .explanation =
         "In the active L1 table the COPIED bit is set exactly when the L2 table has one reference. A "
         "missing bit only costs a copy at the next write. QEMU's check counts it as corruption and "
         "repairs it."sv,
     .consequence = "None for the data; the next write to the range copies the table first."sv,
     .advice = "Let a repair set the bit."sv,
     .spec = "L1 table entry; D29"sv, .deep = false},
    {.code = 609, .name = "l1/alias"sv,
     .severity = Severity::error, .lesser = Severity::error, .reader = Reader::refuse_write,
     .remedy = Remedy::give_up_content, .reason = Reason::repairable, .consent = Consent::lossy,
     .title = "two L1 entries of one table point to the same L2 table"sv,
     .explanation =
         "Each range of the disk has its own L2 table. Sharing one inside the same L1 table shows the "
         "same data in both ranges; no known writer does that. QEMU doesn't notice when the refcount "
         "agrees."sv,
     .consequence = "One of the two guest ranges shows the other's data, and its own is lost or orphaned."sv,
     .advice =
         "Find out which range the table belongs to, and look for the other's table among the "
         "unreferenced clusters."sv,
     .spec = "L1 table entry"sv, .deep = false},
    {.code = 610, .name = "l1/points-at-metadata"sv,
     .severity = Severity::error, .lesser = Severity::error, .reader = Reader::fail_read,
     .remedy = Remedy::relink_structure, .reason = Reason::repairable, .consent = Consent::choice,
     .title = "an L1 entry points at bytes that belong to something else"sv,
     .explanation =
         "The cluster of an L2 table holds nothing else: no header, L1 table, refcount structure, "
         "snapshot table, bitmap, LUKS header or data. QEMU judges the foreign bytes as table entries, "
         "and its repair overwrites what it takes for bad ones, guest data included, or raises the "
         "refcount and calls the image clean."sv,
     .consequence =
         "The guest range can't be read, and a write to it or a repair overwrites the other owner's "
         "content."sv,
     .advice =
         "Don't run a repair that isn't planned first; look for the real L2 table among the unreferenced "
         "clusters."sv,
     .spec = "L1 table entry"sv, .deep = false},
    {.code = 611, .name = "l1/entries-past-disk"sv,
     .severity = Severity::note, .lesser = Severity::note, .reader = Reader::tolerate,
     .remedy = Remedy::none, .reason = Reason::n3_legal, .consent = Consent::none,
     .title = "the active L1 table maps clusters behind the end of the disk"sv,
     .explanation =
         "Entries behind the end of the disk hold VM state and are normally empty in the active L1 table. "
         "They may be left from an interrupted snapshot, or be the rest of a disk whose size field was "
         "damaged. Their clusters count as owned."sv,
     .consequence = "If the size field was damaged, the end of the disk is invisible to the guest."sv,
     .advice = "Make sure that the virtual disk size is right."sv,
     .spec = "L1 table entry"sv, .deep = false},
    {.code = 612, .name = "l1/oversized"sv,
     .severity = Severity::note, .lesser = Severity::note, .reader = Reader::tolerate,
     .remedy = Remedy::none, .reason = Reason::n3_legal, .consent = Consent::none,
     .title = "the L1 table is longer than the virtual disk needs"sv,
     .explanation =
         "A longer table is legal: it remains after a disk was shrunk or an internal snapshot with VM "
         "state was deleted. If the disk was never larger, the size field may be damaged."sv,
     .consequence = "If the size field was damaged, the end of the disk is invisible to the guest."sv,
     .advice = "Make sure that the virtual disk size is right."sv,
     .spec = "Header: l1_size"sv, .deep = false},
    {.code = 613, .name = "l1/shared-with-snapshot"sv,
     .severity = Severity::error, .lesser = Severity::error, .reader = Reader::refuse_write,
     .remedy = Remedy::copy_table, .reason = Reason::repairable, .consent = Consent::choice,
     .title = "the active L1 table is also an internal snapshot's L1 table"sv,
     .explanation =
         "Each internal snapshot has its own copy of the L1 table. QEMU's check sees a wrong refcount "
         "only, and its repair raises it, after which the image is called clean and still shares the "
         "table."sv,
     .consequence =
         "Every write by the guest changes the snapshot, and deleting the snapshot frees the active "
         "disk's table."sv,
     .advice = "Don't write to the image and don't delete the snapshot before the table was copied."sv,
     .spec = "Snapshots"sv, .deep = false},
    {.code = 614, .name = "l1/entry-lost"sv,
     .severity = Severity::error, .lesser = Severity::error, .reader = Reader::refuse_write,
     .remedy = Remedy::reattach_table, .reason = Reason::repairable, .consent = Consent::choice,
     .title = "an L1 entry is empty, but the L2 table that others have there counts one more owner"sv,
     .explanation =
         "Layers share an L2 table until one of them writes below it, and the table's refcount counts them. "
         "Here it counts more layers than name the table, and at the same index another layer's entry is "
         "empty, which a writer does not do to an entry in use: that entry was lost. QEMU sees a refcount "
         "that is too high, calls it a leak and lowers it."sv,
     .consequence =
         "The guest range reads as unallocated. The table and its data are still there, as long as nobody "
         "lowers the refcounts and writes to what shares them."sv,
     .advice =
         "Don't lower refcounts, don't free leaks and don't write to the image; have the entry put back in a "
         "copy."sv,
     .spec = "Cluster mapping"sv, .deep = false},
};
// clang-format on

}  // namespace cowvet::findings::rules
