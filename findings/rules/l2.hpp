// Area 7, l2: entries of L2 tables that map a cluster of data or zeros. The rules apply to extended entries
// too as far as these have the same bits (their own rules are in extl2), and to the L2 tables of internal
// snapshots except the rules on the COPIED bit; the finding names the snapshot.
#pragma once

#include <string_view>

#include "findings/row.hpp"

namespace cowvet::findings::rules {

using namespace std::string_view_literals;

// clang-format off: a row is laid out by hand so that it reads as one.
inline constexpr Rule l2[] = {
    {.code = 701, .name = "l2/reserved"sv,
     .severity = Severity::error, .lesser = Severity::error, .reader = Reader::refuse_write,
     .remedy = Remedy::clear_reserved_bits, .reason = Reason::repairable, .consent = Consent::choice,
     .title = "an L2 entry has reserved bits set"sv,
     .explanation =
         "Bits 1 to 8 and 56 to 61 of an entry that isn't compressed are zero. A set bit shows that the "
         "entry was overwritten or hit by a bit flip, so its offset is doubtful too. QEMU's check reports "
         "it, no repair mends it, and reading and writing go on through the offset."sv,
     .consequence = "The guest cluster may be read from a wrong place."sv,
     .advice = "Compare the data with what should be there; clear the bits only if it is right."sv,
     .spec = "Standard cluster descriptor"sv, .deep = false},
    {.code = 702, .name = "l2/data-unaligned"sv,
     .severity = Severity::error, .lesser = Severity::error, .reader = Reader::fail_read,
     .remedy = Remedy::reattach_cluster, .reason = Reason::repairable, .consent = Consent::choice,
     .title = "an L2 entry points to a data cluster that is not cluster aligned"sv,
     .explanation =
         "Data clusters begin at cluster boundaries. Rounding the offset would pick a neighbour's data. "
         "QEMU's repair raises the neighbour's refcount and leaves the entry as it is; reads fail and "
         "writes mark the image as corrupt."sv,
     .consequence = "The guest cluster can't be read."sv,
     .advice = "Look for the data among the unreferenced clusters."sv,
     .spec = "Standard cluster descriptor"sv, .deep = false},
    {.code = 703, .name = "l2/zero-unaligned"sv,
     .severity = Severity::error, .lesser = Severity::error, .reader = Reader::refuse_write,
     .remedy = Remedy::bare_zero_entry, .reason = Reason::repairable, .consent = Consent::lossless,
     .title = "an L2 entry that reads as zeros has an offset that is not cluster aligned"sv,
     .explanation =
         "A zero entry may keep a preallocated cluster, whose offset is cluster aligned. The content is "
         "known to be zeros, so the offset can be dropped; QEMU's repair does that."sv,
     .consequence =
         "None for the content; a write to the guest cluster fails or marks the image as corrupt."sv,
     .advice = "Let a repair replace the entry."sv,
     .spec = "Standard cluster descriptor"sv, .deep = false},
    {.code = 704, .name = "l2/past-eof"sv,
     .severity = Severity::error, .lesser = Severity::error, .reader = Reader::fail_read,
     .remedy = Remedy::reattach_cluster, .reason = Reason::repairable, .consent = Consent::choice,
     .title = "a data cluster lies past the end of the file"sv,
     .explanation =
         "Every data cluster begins inside the file. QEMU reads zeros there without an error, and its "
         "repair can't mend the entry."sv,
     .consequence = "The guest sees zeros instead of its data."sv,
     .advice =
         "If the file was cut, get the missing part; otherwise look for the data among the unreferenced "
         "clusters."sv,
     .spec = "Standard cluster descriptor"sv, .deep = false},
    {.code = 705, .name = "l2/zero-flag-v2"sv,
     .severity = Severity::error, .lesser = Severity::error, .reader = Reader::fail_read,
     .remedy = Remedy::clear_reserved_bits, .reason = Reason::repairable, .consent = Consent::choice,
     .title = "an L2 entry reads as zeros, which version 2 does not have"sv,
     .explanation =
         "Bit 0 is reserved in version 2. QEMU's check ignores it, takes the former cluster for a leak, "
         "and reading fails. The image may be one of version 3 whose version field was damaged."sv,
     .consequence = "The guest cluster can't be read with QEMU."sv,
     .advice =
         "If the version field was damaged, mend it in a copy; else find out which program wrote the "
         "entry."sv,
     .spec = "Standard cluster descriptor; D13"sv, .deep = false},
    {.code = 706, .name = "l2/copied-without-offset"sv,
     .severity = Severity::error, .lesser = Severity::error, .reader = Reader::fail_read,
     .remedy = Remedy::reattach_cluster, .reason = Reason::repairable, .consent = Consent::choice,
     .title = "an L2 entry without offset has the COPIED bit set"sv,
     .explanation =
         "Only an image with an external data file has data at offset 0. Elsewhere offset 0 means "
         "unallocated, which has nothing that could be copied: the offset, or the external data file bit, "
         "was lost. QEMU reads the cluster as unallocated, silently."sv,
     .consequence =
         "The guest sees zeros or the backing file's data instead of its own; the lost cluster looks "
         "leaked."sv,
     .advice = "Look for the data among the unreferenced clusters; don't free leaks."sv,
     .spec = "Standard cluster descriptor; D14"sv, .deep = false},
    {.code = 707, .name = "l2/zero-copied-without-offset"sv,
     .severity = Severity::warning, .lesser = Severity::warning, .reader = Reader::tolerate,
     .remedy = Remedy::clear_copied, .reason = Reason::repairable, .consent = Consent::lossless,
     .title = "an L2 entry that reads as zeros has no cluster but the COPIED bit set"sv,
     .explanation =
         "Without a cluster there is nothing that could be copied. The content is known to be zeros. QEMU "
         "doesn't notice."sv,
     .consequence = "None for the content; a preallocated cluster may have been lost."sv,
     .advice = "Let a repair clear the bit."sv,
     .spec = "Standard cluster descriptor"sv, .deep = false},
    {.code = 708, .name = "l2/copied-set-shared"sv,
     .severity = Severity::error, .lesser = Severity::error, .reader = Reader::refuse_write,
     .remedy = Remedy::clear_copied, .reason = Reason::repairable, .consent = Consent::lossless,
     .title = "a data cluster is marked as exclusively owned, but it is shared"sv,
     .explanation =
         "In tables of the active disk the COPIED bit says that the cluster has exactly one reference, so "
         "that it may be overwritten in place. QEMU's check repairs the bit; a write through such an "
         "entry was seen to change a snapshot."sv,
     .consequence = "A write by the guest changes an internal snapshot or another part of the disk too."sv,
     .advice = "Don't write to the image before the bit is cleared; clearing it is always safe."sv,
     .spec = "Standard cluster descriptor"sv, .deep = false},
    {.code = 709, .name = "l2/copied-clear-exclusive"sv,
     .severity = Severity::leak, .lesser = Severity::leak, .reader = Reader::tolerate,
     .remedy = Remedy::set_copied, .reason = Reason::repairable, .consent = Consent::lossless,
     .title = "an exclusively owned data cluster is not marked as such"sv,
     .explanation =
         "In tables of the active disk the COPIED bit is set exactly when the cluster has one reference. "
         "A missing bit only costs a copy at the next write. QEMU's check counts it as corruption and "
         "repairs it."sv,
     .consequence = "None for the data; the next write to the cluster copies it first."sv,
     .advice = "Let a repair set the bit."sv,
     .spec = "Standard cluster descriptor; D29"sv, .deep = false},
    {.code = 710, .name = "l2/host-alias"sv,
     .severity = Severity::error, .lesser = Severity::error, .reader = Reader::tolerate,
     .remedy = Remedy::reattach_cluster, .reason = Reason::repairable, .consent = Consent::choice,
     .title = "two places of the disk share one data cluster"sv,
     .explanation =
         "Snapshots share a cluster at the same guest offset only; two different guest offsets have two "
         "clusters. The format lets them share one if the refcount matches, but no writer is known to do so; "
         "QEMU's repair leaves just that, since it raises the refcount and calls the image clean. With the "
         "old AES method the cluster decrypts to its data at one of the two offsets only."sv,
     .consequence = "One of the guest ranges shows the other's data; its own data is lost or orphaned."sv,
     .advice =
         "Find out to which range the content belongs, and look for the other's data among the "
         "unreferenced clusters."sv,
     .spec = "Standard cluster descriptor"sv, .deep = false},
    {.code = 711, .name = "l2/points-at-metadata"sv,
     .severity = Severity::error, .lesser = Severity::error, .reader = Reader::fail_read,
     .remedy = Remedy::reattach_cluster, .reason = Reason::repairable, .consent = Consent::choice,
     .title = "a data cluster is a part of the image's own metadata"sv,
     .explanation =
         "A data cluster holds no metadata of any kind, the header included. QEMU sees a wrong refcount "
         "at most, and its repair raises it, which makes the state permanent and the check silent. It is "
         "a security risk as well: the guest reads, and may write, what controls the whole image."sv,
     .consequence =
         "The guest's data at this place is lost, and a write by the guest may destroy the image."sv,
     .advice =
         "Don't start a virtual machine on this image; look for the data among the unreferenced clusters."sv,
     .spec = "Standard cluster descriptor"sv, .deep = false},
    {.code = 712, .name = "l2/past-disk-end"sv,
     .severity = Severity::note, .lesser = Severity::note, .reader = Reader::tolerate,
     .remedy = Remedy::none, .reason = Reason::n3_legal, .consent = Consent::none,
     .title = "clusters behind the end of the disk are allocated"sv,
     .explanation =
         "Entries behind the end of the disk are normally empty. They may be left from a larger disk, or "
         "the size field may be damaged. Their clusters count as owned."sv,
     .consequence = "If the size field was damaged, the end of the disk is invisible to the guest."sv,
     .advice = "Make sure that the virtual disk size is right."sv,
     .spec = "Cluster mapping"sv, .deep = false},
    {.code = 713, .name = "l2/table-implausible"sv,
     .severity = Severity::error, .lesser = Severity::error, .reader = Reader::fail_read,
     .remedy = Remedy::give_up_content, .reason = Reason::repairable, .consent = Consent::lossy,
     .title = "an L2 table does not look like one: most of its entries are invalid"sv,
     .explanation =
         "In a sound table few entries, if any, have reserved bits, odd offsets, or targets past the end "
         "of the file or in metadata. A high share shows that something else was written over the table, "
         "for instance guest data or a refcount block. QEMU reports every entry singly and repairs some "
         "of them, which destroys what is there."sv,
     .consequence =
         "The guest range behind this table is lost, unless an older copy of the table exists; freeing "
         "leaks destroys its data."sv,
     .advice =
         "Don't write to the image and don't free leaks; have the table recovered from the orphaned data "
         "in a copy."sv,
     .spec = "Cluster mapping"sv, .deep = false},
    {.code = 714, .name = "l2/table-zeroed"sv,
     .severity = Severity::warning, .lesser = Severity::warning, .reader = Reader::refuse_write,
     .remedy = Remedy::none, .reason = Reason::n1_not_recorded, .consent = Consent::none,
     .title = "an L2 table has no entries, and data without an owner may have been below it"sv,
     .explanation =
         "A table without entries is legal: all its clusters were discarded, or a crash came before the first "
         "entry was stored. But here leaked clusters hold data that no lost table names, and a table that "
         "was overwritten with zeros, or punched out of the file, leaves exactly that. QEMU calls the data "
         "leaks that do no harm, and its leak repair destroys it."sv,
     .consequence =
         "The guest range behind the table reads as unallocated; if the table was zeroed, the leaked clusters "
         "are its data."sv,
     .advice =
         "Don't free leaks; compare the guest range with a backup, and look at the leaked clusters first."sv,
     .spec = "Cluster mapping"sv, .deep = false},
};
// clang-format on

}  // namespace cowvet::findings::rules
