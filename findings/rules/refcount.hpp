// Area 5, refcount: the refcount table, its blocks, and the comparison of the stored refcounts with the
// references that the check counted. Reading the disk needs no refcounts, so faults here endanger the next
// write, not the data as it is; but freeing a cluster whose owner wasn't seen destroys data, which is why
// nothing is called a harmless leak before all owners are known. A refcount fault of any structure (L2 table,
// LUKS header, refcount block, …) is reported here with its owners named.
#pragma once

#include <string_view>

#include "findings/row.hpp"

namespace cowvet::findings::rules {

using namespace std::string_view_literals;

// clang-format off: a row is laid out by hand so that it reads as one.
inline constexpr Rule refcount[] = {
    {.code = 501, .name = "refcount/table-offset-unaligned"sv,
     .severity = Severity::fatal, .lesser = Severity::fatal, .reader = Reader::refuse_write,
     .remedy = Remedy::correct_header, .reason = Reason::repairable, .consent = Consent::choice,
     .title = "the refcount table does not begin at a cluster boundary"sv,
     .explanation =
         "refcount_table_offset is a multiple of the cluster size. QEMU refuses the image for every "
         "purpose, although the disk can be read without refcounts."sv,
     .consequence =
         "The image can't be written and QEMU doesn't open it; the disk's content is not concerned."sv,
     .advice = "Let a repair build a new refcount table from the references."sv,
     .spec = "Header: refcount_table_offset"sv, .deep = false, .refused_by_qemu = true},
    {.code = 502, .name = "refcount/table-offset-zero"sv,
     .severity = Severity::error, .lesser = Severity::error, .reader = Reader::refuse_write,
     .remedy = Remedy::rebuild_refcounts, .reason = Reason::repairable, .consent = Consent::lossless,
     .title = "the refcount table's offset is zero, where the header is"sv,
     .explanation =
         "Offset 0 holds the header. QEMU opens the image and reads the header as the refcount table; its "
         "repair follows the pointers it finds there and may grow the file to gigabytes."sv,
     .consequence = "The next write may overwrite any cluster, the header included."sv,
     .advice =
         "Don't open the image for writing; let a repair build a new refcount table from the references."sv,
     .spec = "Header: refcount_table_offset"sv, .deep = false},
    {.code = 503, .name = "refcount/table-missing"sv,
     .severity = Severity::error, .lesser = Severity::error, .reader = Reader::refuse_write,
     .remedy = Remedy::rebuild_refcounts, .reason = Reason::repairable, .consent = Consent::lossless,
     .title = "the refcount table has no clusters"sv,
     .explanation =
         "Every image has a refcount table of at least one cluster. QEMU opens such an image for checking "
         "only."sv,
     .consequence = "The image can't be written; the disk's content is not concerned."sv,
     .advice = "Let a repair build a new refcount table from the references."sv,
     .spec = "Header: refcount_table_clusters"sv, .deep = false, .refused_by_qemu = true},
    {.code = 504, .name = "refcount/table-too-large"sv,
     .severity = Severity::fatal, .lesser = Severity::fatal, .reader = Reader::refuse_write,
     .remedy = Remedy::rebuild_refcounts, .reason = Reason::repairable, .consent = Consent::lossless,
     .title = "the refcount table is longer than 8 MiB"sv,
     .explanation =
         "QEMU refuses a refcount table of more than 1048576 entries, so the length field is probably "
         "damaged."sv,
     .consequence =
         "The image can't be written and QEMU doesn't open it; the disk's content is not concerned."sv,
     .advice = "Let a repair build a new refcount table from the references."sv,
     .spec = "implementation limit (QEMU)"sv, .deep = false, .refused_by_qemu = true},
    {.code = 505, .name = "refcount/table-overflow"sv,
     .severity = Severity::fatal, .lesser = Severity::fatal, .reader = Reader::refuse_write,
     .remedy = Remedy::rebuild_refcounts, .reason = Reason::repairable, .consent = Consent::lossless,
     .title = "the refcount table's position is beyond every possible file"sv,
     .explanation = "The end of the refcount table is at most 2^63 - 1. QEMU refuses the image."sv,
     .consequence =
         "The image can't be written and QEMU doesn't open it; the disk's content is not concerned."sv,
     .advice = "Let a repair build a new refcount table from the references."sv,
     .spec = "Header: refcount_table_offset"sv, .deep = false, .refused_by_qemu = true},
    {.code = 506, .name = "refcount/table-past-eof"sv,
     .severity = Severity::error, .lesser = Severity::error, .reader = Reader::refuse_write,
     .remedy = Remedy::rebuild_refcounts, .reason = Reason::repairable, .consent = Consent::lossless,
     .title = "the refcount table reaches past the end of the file"sv,
     .explanation =
         "The whole table lies inside the file. Missing entries would read as zero, which means that "
         "clusters are free although they are in use. QEMU's repair rebuilds the table, but fails when "
         "only the table's length is wrong."sv,
     .consequence = "The next write may overwrite live data, because its clusters seem to be free."sv,
     .advice =
         "If the file was cut, get the missing part first; otherwise let a repair build a new refcount "
         "table."sv,
     .spec = "Header: refcount_table_offset; D34"sv, .deep = false},
    {.code = 507, .name = "refcount/table-entry-reserved"sv,
     .severity = Severity::error, .lesser = Severity::error, .reader = Reader::refuse_write,
     .remedy = Remedy::rebuild_refcounts, .reason = Reason::repairable, .consent = Consent::lossless,
     .title = "a refcount table entry has reserved bits set"sv,
     .explanation =
         "Bits 0 to 8 of an entry are zero. The rest of the entry is as doubtful as they are, so clearing "
         "them is no repair. QEMU's repair fails on such an entry and marks the image as corrupt."sv,
     .consequence =
         "The refcounts of the clusters behind this entry can't be trusted; the next write may overwrite "
         "live data."sv,
     .advice = "Let a repair build the refcounts anew from the references."sv,
     .spec = "Refcount table entry"sv, .deep = false},
    {.code = 508, .name = "refcount/block-unaligned"sv,
     .severity = Severity::error, .lesser = Severity::error, .reader = Reader::refuse_write,
     .remedy = Remedy::rebuild_refcounts, .reason = Reason::repairable, .consent = Consent::lossless,
     .title = "a refcount block does not begin at a cluster boundary"sv,
     .explanation =
         "Refcount blocks take whole clusters. QEMU marks the image as corrupt when a write needs the "
         "block, and its repair fails."sv,
     .consequence =
         "The refcounts of the clusters behind this entry can't be trusted; the next write may overwrite "
         "live data."sv,
     .advice = "Let a repair build the refcounts anew from the references."sv,
     .spec = "Refcount table entry"sv, .deep = false},
    {.code = 509, .name = "refcount/block-past-eof"sv,
     .severity = Severity::error, .lesser = Severity::error, .reader = Reader::refuse_write,
     .remedy = Remedy::rebuild_refcount_block, .reason = Reason::repairable, .consent = Consent::lossless,
     .title = "a refcount block lies past the end of the file"sv,
     .explanation =
         "Every block lies inside the file. QEMU's repair grows the file until the pointer is inside it, "
         "up to terabytes."sv,
     .consequence =
         "The refcounts of the clusters behind this entry are lost; the next write may overwrite live "
         "data."sv,
     .advice =
         "If the file was cut, get the missing part first; otherwise let a repair build the block anew."sv,
     .spec = "Refcount table entry"sv, .deep = false},
    {.code = 510, .name = "refcount/block-partial-eof"sv,
     .severity = Severity::error, .lesser = Severity::error, .reader = Reader::refuse_write,
     .remedy = Remedy::rebuild_refcount_block, .reason = Reason::repairable, .consent = Consent::lossless,
     .title = "a refcount block is cut off by the end of the file"sv,
     .explanation =
         "A refcount block is complete in the file. Missing refcounts would read as zero, which means "
         "that clusters are free although they may be in use. QEMU doesn't notice unless a used cluster "
         "is concerned."sv,
     .consequence = "The next write may overwrite live data, because its clusters seem to be free."sv,
     .advice =
         "If the file was cut, get the missing part first; otherwise let a repair build the block anew."sv,
     .spec = "Refcount table entry; D34"sv, .deep = false},
    {.code = 511, .name = "refcount/block-shared"sv,
     .severity = Severity::error, .lesser = Severity::error, .reader = Reader::refuse_write,
     .remedy = Remedy::rebuild_refcount_block, .reason = Reason::repairable, .consent = Consent::lossless,
     .title = "two refcount table entries point to the same block"sv,
     .explanation =
         "Each block counts the clusters of one stretch of the file. Shared, it counts two stretches at "
         "once, wrongly for at least one of them."sv,
     .consequence = "The next write may overwrite live data in one of the two stretches."sv,
     .advice = "Let a repair build a block of its own for the second entry."sv,
     .spec = "Refcount table entry"sv, .deep = false},
    {.code = 512, .name = "refcount/block-overlap"sv,
     .severity = Severity::error, .lesser = Severity::error, .reader = Reader::refuse_write,
     .remedy = Remedy::rebuild_refcount_block, .reason = Reason::repairable, .consent = Consent::lossless,
     .title = "a refcount block uses a cluster that something else owns"sv,
     .explanation =
         "A refcount block shares its cluster with nothing. Whoever wrote last has overwritten the other. "
         "QEMU's repair moves the refcounts elsewhere and doesn't say that the other owner's content is "
         "damaged."sv,
     .consequence = "Updating a refcount overwrites the other owner's content, and the other way round."sv,
     .advice =
         "Look at the owners named here: their content is probably damaged. Then let a repair build the "
         "block elsewhere."sv,
     .spec = "Refcount table entry"sv, .deep = false},
    {.code = 513, .name = "refcount/coverage"sv,
     .severity = Severity::error, .lesser = Severity::error, .reader = Reader::refuse_write,
     .remedy = Remedy::rebuild_refcounts, .reason = Reason::repairable, .consent = Consent::lossless,
     .title = "clusters in use have no refcount block"sv,
     .explanation =
         "Every cluster in use has a table entry and a block, or it counts as free. QEMU's repair "
         "rebuilds the refcounts."sv,
     .consequence = "The next write may overwrite live data, because its clusters seem to be free."sv,
     .advice = "Don't write to the image before a repair has built the missing refcounts."sv,
     .spec = "Refcounts"sv, .deep = false},
    {.code = 514, .name = "refcount/zero-in-use"sv,
     .severity = Severity::error, .lesser = Severity::error, .reader = Reader::refuse_write,
     .remedy = Remedy::set_refcount, .reason = Reason::repairable, .consent = Consent::lossless,
     .title = "a cluster in use counts as free"sv,
     .explanation =
         "The refcount of every cluster that something refers to is at least 1. With 0 the allocator "
         "hands the cluster out again, and the next write to anywhere may land on it. QEMU's repair "
         "rebuilds all refcounts then, and puts them into clusters that nothing refers to, orphaned "
         "tables included."sv,
     .consequence = "The next write may overwrite what is stored in this cluster."sv,
     .advice = "Don't write to the image before a repair has raised the refcount."sv,
     .spec = "Refcounts"sv, .deep = false},
    {.code = 515, .name = "refcount/too-low"sv,
     .severity = Severity::error, .lesser = Severity::error, .reader = Reader::refuse_write,
     .remedy = Remedy::set_refcount, .reason = Reason::repairable, .consent = Consent::lossless,
     .title = "a cluster's refcount is lower than its references"sv,
     .explanation =
         "The refcount is the number of references. If it is too low, releasing one reference, for "
         "instance by deleting a snapshot, frees the cluster under the others. Unexpected references may "
         "also show that two structures overlap, which raising the refcount would hide."sv,
     .consequence =
         "Deleting a snapshot or discarding data frees and later overwrites data that is still in use."sv,
     .advice = "Look at the owners named here; if all are right, let a repair raise the refcount."sv,
     .spec = "Refcounts"sv, .deep = false},
    {.code = 516, .name = "refcount/leak"sv,
     .severity = Severity::leak, .lesser = Severity::leak, .reader = Reader::tolerate,
     .remedy = Remedy::set_refcount, .reason = Reason::repairable, .consent = Consent::frees,
     .title = "a cluster is counted as used, but nothing refers to it"sv,
     .explanation =
         "A cluster without references has refcount 0. A crash before the reference was written leaves it "
         "so, harmlessly. Lost tables and snapshots leave the same trace, which is why leaks are freed "
         "only when every structure that can own clusters was read and believed. QEMU's repair frees "
         "leaked clusters and discards their content at once."sv,
     .consequence =
         "The space can't be used again; if a table was lost, the cluster may hold data that belongs to "
         "the disk."sv,
     .advice =
         "Free leaks only when the check finds nothing else; otherwise they are what the lost data is "
         "recovered from."sv,
     .spec = "Refcounts"sv, .deep = false},
    {.code = 517, .name = "refcount/leak-holds-table"sv,
     .severity = Severity::error, .lesser = Severity::error, .reader = Reader::refuse_write,
     .remedy = Remedy::reattach_table, .reason = Reason::repairable, .consent = Consent::choice,
     .title = "leaked clusters look like a lost L1 or L2 table"sv,
     .explanation =
         "Nothing refers to these clusters, but they read as a valid table whose entries lead to clusters in "
         "use or lost as well. An L1 entry, a snapshot or a snapshot table that pointed here was lost, "
         "and what looks like wasted space is data of the disk. QEMU calls it a leak that does no harm, "
         "and its leak repair destroys it."sv,
     .consequence =
         "The data below this table is missing from the disk, and any leak repair destroys it for good."sv,
     .advice = "Don't free leaks and don't write to the image; have the table put back in a copy."sv,
     .spec = "Refcounts"sv, .deep = false},
    {.code = 518, .name = "refcount/too-high"sv,
     .severity = Severity::leak, .lesser = Severity::leak, .reader = Reader::tolerate,
     .remedy = Remedy::set_refcount, .reason = Reason::repairable, .consent = Consent::frees,
     .title = "a cluster's refcount is higher than its references"sv,
     .explanation =
         "The refcount is the number of references. If it is too high, the cluster is never freed and "
         "each write to it is copied first. A lost snapshot or table leaves the same trace."sv,
     .consequence = "The space isn't given back when the last reference goes; nothing else is at risk."sv,
     .advice = "Lower it only when the check finds nothing else."sv,
     .spec = "Refcounts"sv, .deep = false},
    {.code = 519, .name = "refcount/beyond-eof"sv,
     .severity = Severity::warning, .lesser = Severity::warning, .reader = Reader::tolerate,
     .remedy = Remedy::set_refcount, .reason = Reason::repairable, .consent = Consent::frees,
     .title = "clusters past the end of the file are counted as used"sv,
     .explanation =
         "A refcount above 0 past the end of the file is either a trace of data that was cut off, or "
         "space that the allocator will never use. QEMU compares refcounts only up to the end of the "
         "file."sv,
     .consequence =
         "If the file was cut, the data that these clusters held is lost from this copy of the file."sv,
     .advice = "Compare the file's length with its source before anything else."sv,
     .spec = "Refcounts; D33"sv, .deep = false},
    {.code = 520, .name = "refcount/overflow"sv,
     .severity = Severity::error, .lesser = Severity::error, .reader = Reader::refuse_write,
     .remedy = Remedy::widen_refcounts, .reason = Reason::repairable, .consent = Consent::lossless,
     .title = "a cluster has more references than its refcount can express"sv,
     .explanation =
         "A refcount of n bits counts to 2^n - 1. QEMU reports an overflow, can't repair it, and still "
         "frees unrelated leaks."sv,
     .consequence = "Releasing a reference frees the cluster while others still use it."sv,
     .advice = "Copy the image with qemu-img convert, or let a repair widen the refcounts."sv,
     .spec = "Refcounts"sv, .deep = false},
    {.code = 521, .name = "refcount/empty-block"sv,
     .severity = Severity::note, .lesser = Severity::note, .reader = Reader::tolerate,
     .remedy = Remedy::none, .reason = Reason::n3_legal, .consent = Consent::none,
     .title = "a refcount block counts nothing but itself"sv,
     .explanation = "Such a block is legal and left over from clusters that were freed."sv,
     .consequence = "None; the block takes one cluster."sv,
     .advice = "Nothing to do."sv,
     .spec = "Refcounts"sv, .deep = false},
    {.code = 522, .name = "refcount/huge-file"sv,
     .severity = Severity::note, .lesser = Severity::note, .reader = Reader::tolerate,
     .remedy = Remedy::none, .reason = Reason::n3_legal, .consent = Consent::none,
     .title = "the file has too many clusters for qemu-img to check"sv,
     .explanation =
         "qemu-img check gives up on files of 2^31 clusters or more, as a sparse file of 1 TiB with "
         "512-byte clusters has."sv,
     .consequence = "None for the data; qemu-img can neither check nor repair the image."sv,
     .advice = "Convert the image to larger clusters if it is to be used with qemu-img check."sv,
     .spec = "implementation limit (QEMU)"sv, .deep = false},
    {.code = 523, .name = "refcount/incomplete"sv,
     .severity = Severity::error, .lesser = Severity::error, .reader = Reader::refuse_write,
     .remedy = Remedy::none, .reason = Reason::n2_two_readings, .consent = Consent::none,
     .title = "not all references could be counted, so leaks can't be told from data"sv,
     .explanation =
         "The walk over the tables stopped at a limit, or a structure that can own clusters couldn't be "
         "read. The references that were counted are right, but some are missing, so clusters that seem "
         "unused may be in use. QEMU goes on, calls them leaks, and frees them."sv,
     .consequence = "What looks leaked may be live data; freeing it destroys it."sv,
     .advice = "Mend what stopped the count first, or raise the limit, and check again; don't free leaks."sv,
     .spec = "Refcounts"sv, .deep = false},
    {.code = 524, .name = "refcount/block-implausible"sv,
     .severity = Severity::error, .lesser = Severity::error, .reader = Reader::refuse_write,
     .remedy = Remedy::rebuild_refcount_block, .reason = Reason::repairable, .consent = Consent::lossless,
     .title = "a refcount block holds something else than refcounts"sv,
     .explanation =
         "Many of the values in it are far above what all layers of the image together can refer to. "
         "Something was written over the block, or the refcount table leads to a cluster of something "
         "else. QEMU's check takes each value for a refcount and lowers it."sv,
     .consequence =
         "Clusters of which the block says zero by chance will be given away and overwritten at the next "
         "write; what lies in the block may be data that is missing elsewhere."sv,
     .advice = "Let a repair build the block anew at another place; don't free what looks leaked."sv,
     .spec = "Refcounts"sv, .deep = false},
};
// clang-format on

}  // namespace cowvet::findings::rules
