// Area 15, overlap: metadata that shares clusters with other metadata. Each pair is reported once. A guest
// mapping that lands on metadata is reported where the pointer is (l1/points-at-metadata,
// l2/points-at-metadata, compressed/overlaps-metadata), data on data as l2/host-alias,
// compressed/overlaps-standard or compressed/streams-overlap, a refcount block as refcount/block-overlap, the
// LUKS region as crypt/header-unique, bitmap data as bitmap/data-overlap. No other structure can lie in the
// first cluster: an offset of zero means something else everywhere, and has a rule there. The verdict never depends on
// refcounts: QEMU's check is content when the refcount of a shared cluster is 2.
#pragma once

#include <string_view>

#include "findings/row.hpp"

namespace cowvet::findings::rules {

using namespace std::string_view_literals;

// clang-format off: a row is laid out by hand so that it reads as one.
inline constexpr Rule overlap[] = {
    {.code = 1502, .name = "overlap/active-l1"sv,
     .severity = Severity::error, .lesser = Severity::error, .reader = Reader::refuse_write,
     .remedy = Remedy::relink_structure, .reason = Reason::repairable, .consent = Consent::choice,
     .title = "the active L1 table uses clusters that another structure owns"sv,
     .explanation =
         "The clusters of the active L1 table have one owner. QEMU sees a wrong refcount at most, and its "
         "repair raises it, after which the image is called clean."sv,
     .consequence =
         "Writing either structure destroys the other; a range of the disk is probably lost already."sv,
     .advice = "Don't write to the image; look at which owner's content is there."sv,
     .spec = "Header: l1_table_offset"sv, .deep = false},
    {.code = 1504, .name = "overlap/refcount-table"sv,
     .severity = Severity::error, .lesser = Severity::error, .reader = Reader::refuse_write,
     .remedy = Remedy::correct_header, .reason = Reason::repairable, .consent = Consent::choice,
     .title = "the refcount table uses clusters that another structure owns"sv,
     .explanation =
         "The clusters of the refcount table have one owner. QEMU's protection against overlapping writes "
         "may stop a write and mark the image as corrupt."sv,
     .consequence = "Allocating a cluster writes into the other structure and destroys it."sv,
     .advice =
         "Don't write to the image; let a repair build the refcount table elsewhere, and look at the "
         "other owner's content."sv,
     .spec = "Header: refcount_table_offset"sv, .deep = false},
    {.code = 1505, .name = "overlap/snapshot-table"sv,
     .severity = Severity::error, .lesser = Severity::error, .reader = Reader::refuse_write,
     .remedy = Remedy::none, .reason = Reason::n5_content_lost, .consent = Consent::none,
     .title = "the snapshot table uses clusters that another structure owns"sv,
     .explanation =
         "The clusters of the snapshot table have one owner. QEMU sees a wrong refcount at most."sv,
     .consequence = "Writing either structure destroys the other; snapshots are probably lost already."sv,
     .advice = "Don't write to the image; look at which owner's content is there."sv,
     .spec = "Header: snapshots_offset"sv, .deep = false},
    {.code = 1506, .name = "overlap/snapshot-l1"sv,
     .severity = Severity::error, .lesser = Severity::error, .reader = Reader::refuse_write,
     .remedy = Remedy::relink_structure, .reason = Reason::repairable, .consent = Consent::choice,
     .title = "an internal snapshot's L1 table uses clusters that another structure owns"sv,
     .explanation =
         "The clusters of each snapshot's L1 table have one owner. QEMU sees a wrong refcount at most, "
         "and its repair raises it, after which the image is called clean."sv,
     .consequence =
         "Writing either structure destroys the other; a part of the snapshot is probably lost already."sv,
     .advice =
         "Don't write to the image and don't delete the snapshot; look at which owner's content is there."sv,
     .spec = "Snapshots"sv, .deep = false},
    {.code = 1507, .name = "overlap/bitmap-directory"sv,
     .severity = Severity::error, .lesser = Severity::error, .reader = Reader::refuse_write,
     .remedy = Remedy::drop_bitmaps, .reason = Reason::repairable, .consent = Consent::lossy,
     .title = "the bitmap directory uses clusters that another structure owns"sv,
     .explanation = "The clusters of the directory have one owner. QEMU sees a wrong refcount at most."sv,
     .consequence = "Saving the bitmaps destroys the other structure."sv,
     .advice = "Don't start a virtual machine on this image; make a full backup, then drop the bitmaps."sv,
     .spec = "Bitmaps extension"sv, .deep = false},
    {.code = 1508, .name = "overlap/bitmap-table"sv,
     .severity = Severity::error, .lesser = Severity::error, .reader = Reader::refuse_write,
     .remedy = Remedy::drop_bitmaps, .reason = Reason::repairable, .consent = Consent::lossy,
     .title = "a bitmap's table uses clusters that another structure owns"sv,
     .explanation = "The clusters of a bitmap's table have one owner. QEMU sees a wrong refcount at most."sv,
     .consequence = "Saving the bitmap destroys the other structure."sv,
     .advice = "Don't start a virtual machine on this image; make a full backup, then drop the bitmaps."sv,
     .spec = "Bitmap table"sv, .deep = false},
};
// clang-format on

}  // namespace cowvet::findings::rules
