// Area 2, feature: the three words of feature bits in a version 3 header, and the fields and structures that
// they must agree with. Incompatible bits decide how every byte is read, autoclear bits whether an
// extension's data is still current. Version 2 has no feature words: the absence of a bit there proves
// nothing and is no finding.
#pragma once

#include <string_view>

#include "findings/row.hpp"

namespace cowvet::findings::rules {

using namespace std::string_view_literals;

// clang-format off: a row is laid out by hand so that it reads as one.
inline constexpr Rule feature[] = {
    {.code = 201, .name = "feature/incompatible-unknown"sv,
     .severity = Severity::fatal, .lesser = Severity::fatal, .reader = Reader::refuse_open,
     .remedy = Remedy::clear_feature_bit, .reason = Reason::repairable, .consent = Consent::choice,
     .title = "the image needs a feature that is unknown"sv,
     .explanation =
         "An incompatible feature bit outside 0 to 4 says that a reader who doesn't know it would misread "
         "the image. QEMU refuses the image and names the bit from the feature name table if it can."sv,
     .consequence =
         "Reading the image without knowing the feature may yield wrong data; writing it may destroy it."sv,
     .advice = "Use the program that wrote the image; don't clear the bit."sv,
     .spec = "Header: incompatible_features"sv, .deep = false},
    {.code = 202, .name = "feature/dirty"sv,
     .severity = Severity::warning, .lesser = Severity::warning, .reader = Reader::refuse_write,
     .remedy = Remedy::clear_dirty_bit, .reason = Reason::repairable, .consent = Consent::lossless,
     .title = "the image was not closed cleanly, its refcounts may be stale"sv,
     .explanation =
         "The dirty bit says that refcounts may be wrong in both directions, while the L1 and L2 tables "
         "are right. They have to be rebuilt before the first write. QEMU's check doesn't mention the "
         "bit; opening the image for writing makes QEMU repair it unasked, and data of clusters that "
         "nothing refers to is discarded."sv,
     .consequence =
         "The next program that opens the image for writing repairs it on its own and erases the evidence "
         "of what went wrong."sv,
     .advice = "Check the mapping first, then let a repair rebuild the refcounts and clear the bit."sv,
     .spec = "Header: incompatible_features; D22"sv, .deep = false},
    {.code = 203, .name = "feature/corrupt"sv,
     .severity = Severity::error, .lesser = Severity::error, .reader = Reader::refuse_write,
     .remedy = Remedy::clear_corrupt_bit, .reason = Reason::repairable, .consent = Consent::lossless,
     .title = "some program marked the image as corrupt"sv,
     .explanation =
         "The corrupt bit is set by a writer that met inconsistent metadata; any structure may be "
         "affected. QEMU allows reading only, its check doesn't mention the bit, and it uses a backing "
         "file with the bit without a word. The bit is cleared only when a full verification finds "
         "nothing."sv,
     .consequence =
         "Something in the image was overwritten or wrong when the bit was set; the virtual machine can't "
         "write to it."sv,
     .advice =
         "Look at the other findings; clear the bit only when a deep check of the repaired image is "
         "clean."sv,
     .spec = "Header: incompatible_features"sv, .deep = false},
    {.code = 204, .name = "feature/dirty-without-lazy"sv,
     .severity = Severity::note, .lesser = Severity::note, .reader = Reader::refuse_write,
     .remedy = Remedy::none, .reason = Reason::n3_legal, .consent = Consent::none,
     .title = "the dirty bit is set although lazy refcounts are off"sv,
     .explanation =
         "Without lazy refcounts a writer sets the dirty bit only around an operation that may leave "
         "refcounts behind, such as emptying an overlay. A crash in that operation leaves the image in "
         "this state, legally."sv,
     .consequence = "None beyond the dirty bit itself."sv,
     .advice = "Find out which operation was interrupted before the image is opened for writing."sv,
     .spec = "Header: compatible_features"sv, .deep = false},
    {.code = 205, .name = "feature/compatible-unknown"sv,
     .severity = Severity::note, .lesser = Severity::note, .reader = Reader::tolerate,
     .remedy = Remedy::none, .reason = Reason::n3_legal, .consent = Consent::none,
     .title = "the image has a compatible feature that is unknown"sv,
     .explanation =
         "Compatible feature bits outside bit 0 are harmless by definition: any reader and writer may "
         "ignore and must keep them. QEMU does so."sv,
     .consequence = "None."sv,
     .advice = "Nothing to do."sv,
     .spec = "Header: compatible_features"sv, .deep = false},
    {.code = 206, .name = "feature/autoclear-unknown"sv,
     .severity = Severity::warning, .lesser = Severity::warning, .reader = Reader::tolerate,
     .remedy = Remedy::none, .reason = Reason::n7_not_yet, .consent = Consent::none,
     .title = "the image has an autoclear feature that is unknown"sv,
     .explanation =
         "An unknown autoclear bit belongs to data that some other program keeps in this image. Reading "
         "is safe; a writer that doesn't know the bit must clear it before its first write, so that the "
         "data is known to be stale. QEMU does so when it opens the image for writing, its check -r "
         "included. The structures behind the bit may own clusters that look leaked."sv,
     .consequence = "The next write makes another program's data stale, and a leak repair may free it."sv,
     .advice = "Find out which program uses the bit before the image is written to or leaks are freed."sv,
     .spec = "Header: autoclear_features"sv, .deep = false},
    {.code = 207, .name = "feature/bitmaps-bit-without-extension"sv,
     .severity = Severity::error, .lesser = Severity::error, .reader = Reader::refuse_write,
     .remedy = Remedy::clear_feature_bit, .reason = Reason::repairable, .consent = Consent::lossless,
     .title = "the bitmaps bit is set, but there is no bitmaps extension"sv,
     .explanation =
         "Autoclear bit 0 says that the bitmaps extension is current, so the extension has to exist. QEMU "
         "neither notices nor mends it."sv,
     .consequence =
         "The persistent bitmaps are lost or were never there; incremental backups based on them can't go "
         "on. The disk's content is not concerned."sv,
     .advice = "Make a full backup, then clear the bit."sv,
     .spec = "Header: autoclear_features; D6"sv, .deep = false},
    {.code = 208, .name = "feature/bitmaps-bit-clear"sv,
     .severity = Severity::warning, .lesser = Severity::warning, .reader = Reader::tolerate,
     .remedy = Remedy::mark_bitmaps_stale, .reason = Reason::repairable, .consent = Consent::choice,
     .title = "the image has bitmaps that are marked as stale"sv,
     .explanation =
         "Bitmaps without autoclear bit 0 are stale: a program that doesn't keep them up to date has "
         "written to the image. QEMU warns, and when it opens the image for writing it deletes the "
         "extension and leaves the clusters leaked."sv,
     .consequence =
         "An incremental backup that trusted these bitmaps would miss changes; the disk's content is not "
         "concerned."sv,
     .advice = "Make a full backup and create the bitmaps anew."sv,
     .spec = "Header: autoclear_features; D37"sv, .deep = false},
    {.code = 209, .name = "feature/raw-without-data-file"sv,
     .severity = Severity::fatal, .lesser = Severity::fatal, .reader = Reader::refuse_open,
     .remedy = Remedy::clear_feature_bit, .reason = Reason::repairable, .consent = Consent::choice,
     .title = "the raw external data bit is set without an external data file"sv,
     .explanation =
         "Autoclear bit 1 says that the external data file alone is a valid raw image, so incompatible "
         "bit 2 must say that there is one. If that bit was lost, host offsets belong to another file "
         "than it seems. QEMU refuses input and output on the image; only info works."sv,
     .consequence =
         "If the external data file bit was lost, every guest cluster is looked up in the wrong file."sv,
     .advice = "Find out whether the image had a data file; don't clear the bit before that is known."sv,
     .spec = "Header: autoclear_features; D18"sv, .deep = false},
    {.code = 210, .name = "feature/raw-with-backing"sv,
     .severity = Severity::error, .lesser = Severity::error, .reader = Reader::refuse_write,
     .remedy = Remedy::none, .reason = Reason::n2_two_readings, .consent = Consent::none,
     .title = "the image claims a raw external data file and has a backing file"sv,
     .explanation =
         "A raw data file shows the whole disk by itself, a backing file supplies what is not in it: both "
         "can't be right. QEMU forbids the combination when it creates an image, but opens it silently."sv,
     .consequence =
         "The data file read alone and the image read through its backing file show different disks."sv,
     .advice = "Decide which view is right, then remove the backing file or the raw bit in a copy."sv,
     .spec = "Header: autoclear_features; D17"sv, .deep = false},
    {.code = 211, .name = "feature/compression-bit-type"sv,
     .severity = Severity::fatal, .lesser = Severity::fatal, .reader = Reader::refuse_open,
     .remedy = Remedy::correct_header, .reason = Reason::repairable, .consent = Consent::choice,
     .title = "the compression feature bit and the compression type contradict each other"sv,
     .explanation =
         "Incompatible bit 3 is set if and only if the header has a compression type other than 0. If one "
         "of the two is damaged the right codec is unknown. QEMU refuses the image."sv,
     .consequence =
         "Compressed clusters decoded with the wrong codec can't be read; other clusters are not "
         "concerned."sv,
     .advice =
         "Find out from the compressed payloads which codec it is, and mend the other field in a copy."sv,
     .spec = "Header: incompatible_features"sv, .deep = false},
    {.code = 212, .name = "feature/compression-type-unknown"sv,
     .severity = Severity::fatal, .lesser = Severity::fatal, .reader = Reader::refuse_open,
     .remedy = Remedy::correct_header, .reason = Reason::repairable, .consent = Consent::choice,
     .title = "the compression type is unknown"sv,
     .explanation = "The compression type is 0 for deflate or 1 for zstd. QEMU refuses other values."sv,
     .consequence = "Compressed clusters can't be decoded."sv,
     .advice = "Find out from the compressed payloads which codec it is, and mend the field in a copy."sv,
     .spec = "Additional fields: compression_type"sv, .deep = false},
    {.code = 213, .name = "feature/extl2-cluster-bits"sv,
     .severity = Severity::fatal, .lesser = Severity::fatal, .reader = Reader::refuse_open,
     .remedy = Remedy::correct_header, .reason = Reason::repairable, .consent = Consent::choice,
     .title = "extended L2 entries need clusters of at least 16 KiB"sv,
     .explanation =
         "With extended L2 entries each cluster has 32 subclusters of at least 512 bytes, so cluster_bits "
         "is at least 14. QEMU refuses the image."sv,
     .consequence = "Either the cluster size or the feature bit is damaged, and every L2 table is misread."sv,
     .advice =
         "Find out which of the two is wrong from the alignment of the tables, and mend it in a copy."sv,
     .spec = "Header: incompatible_features"sv, .deep = false},
    {.code = 214, .name = "feature/extl2-misflagged"sv,
     .severity = Severity::fatal, .lesser = Severity::fatal, .reader = Reader::refuse_open,
     .remedy = Remedy::correct_header, .reason = Reason::repairable, .consent = Consent::choice,
     .title = "the L2 tables are written in the other entry format than the header says"sv,
     .explanation =
         "Incompatible bit 4 decides whether L2 entries take 8 or 16 bytes. Read as the header says, many "
         "entries here are invalid; read the other way, they are valid, so the bit was probably flipped. "
         "QEMU doesn't notice the cause: it reports leaks, and its leak repair frees live data."sv,
     .consequence =
         "Every L2 table is misread; part of the live data looks leaked and is destroyed by a leak "
         "repair."sv,
     .advice = "Don't write to the image and don't free leaks; flip the bit in a copy and check that."sv,
     .spec = "Header: incompatible_features"sv, .deep = false},
    {.code = 215, .name = "feature/data-file-misflagged"sv,
     .severity = Severity::fatal, .lesser = Severity::fatal, .reader = Reader::refuse_open,
     .remedy = Remedy::correct_header, .reason = Reason::repairable, .consent = Consent::choice,
     .title = "the external data file bit contradicts the L2 tables"sv,
     .explanation =
         "Incompatible bit 2 decides whether host offsets belong to this file. Set by damage, it makes "
         "all data clusters of this file look leaked; lost by damage, it leaves entries whose host offset "
         "is the guest offset and which are marked as copied at offset 0. QEMU doesn't notice the cause "
         "and reports leaks only."sv,
     .consequence =
         "Guest data is read from and written to the wrong file, and the live data looks like leaked "
         "space."sv,
     .advice = "Don't write to the image and don't free leaks; flip the bit in a copy and check that."sv,
     .spec = "Header: incompatible_features"sv, .deep = false},
};
// clang-format on

}  // namespace cowvet::findings::rules
