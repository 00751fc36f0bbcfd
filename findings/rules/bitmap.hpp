// Area 11, bitmap: persistent dirty bitmaps: the directory that the bitmaps extension names, a table for each
// bitmap, and its data. A bitmap says what changed since a backup, so a fault here never concerns the disk's
// content, but the next incremental backup. QEMU refuses the whole image for most of these faults, even for
// checking.
#pragma once

#include <string_view>

#include "findings/row.hpp"

namespace cowvet::findings::rules {

using namespace std::string_view_literals;

// clang-format off: a row is laid out by hand so that it reads as one.
inline constexpr Rule bitmap[] = {
    {.code = 1101, .name = "bitmap/reserved-word"sv,
     .severity = Severity::error, .lesser = Severity::error, .reader = Reader::refuse_write,
     .remedy = Remedy::zero_padding, .reason = Reason::repairable, .consent = Consent::choice,
     .title = "the bitmaps extension's reserved word is not zero"sv,
     .explanation = "Bytes 4 to 7 of the extension are zero. QEMU refuses the whole image."sv,
     .consequence =
         "QEMU doesn't open the image; incremental backups can't go on. The disk's content is intact."sv,
     .advice = "Make a full backup, then drop the bitmaps or mend the word in a copy."sv,
     .spec = "Bitmaps extension"sv, .deep = false, .refused_by_qemu = true},
    {.code = 1102, .name = "bitmap/count-range"sv,
     .severity = Severity::error, .lesser = Severity::error, .reader = Reader::refuse_write,
     .remedy = Remedy::recount_bitmaps, .reason = Reason::repairable, .consent = Consent::choice,
     .title = "the number of bitmaps is zero or more than 65535"sv,
     .explanation =
         "The extension exists only if there are bitmaps, and QEMU allows 65535. It refuses the whole "
         "image."sv,
     .consequence =
         "QEMU doesn't open the image; incremental backups can't go on. The disk's content is intact."sv,
     .advice = "Make a full backup, then drop the bitmaps."sv,
     .spec = "Bitmaps extension"sv, .deep = false, .refused_by_qemu = true},
    {.code = 1103, .name = "bitmap/directory-offset"sv,
     .severity = Severity::error, .lesser = Severity::error, .reader = Reader::refuse_write,
     .remedy = Remedy::drop_bitmaps, .reason = Reason::repairable, .consent = Consent::lossy,
     .title = "the bitmap directory's position is impossible"sv,
     .explanation =
         "The directory begins at a cluster boundary other than 0 and ends below 2^63. QEMU refuses the "
         "whole image."sv,
     .consequence =
         "The bitmaps can't be found; QEMU doesn't open the image. The disk's content is intact."sv,
     .advice = "Make a full backup, then drop the bitmaps; don't free leaks before that."sv,
     .spec = "Bitmaps extension"sv, .deep = false},
    {.code = 1104, .name = "bitmap/directory-size"sv,
     .severity = Severity::error, .lesser = Severity::error, .reader = Reader::refuse_write,
     .remedy = Remedy::recount_bitmaps, .reason = Reason::repairable, .consent = Consent::choice,
     .title = "the bitmap directory's size is impossible"sv,
     .explanation =
         "The directory has at least 24 bytes for each bitmap and at most 67107840. QEMU refuses the "
         "whole image."sv,
     .consequence =
         "The bitmaps can't be read safely; QEMU doesn't open the image. The disk's content is intact."sv,
     .advice = "Make a full backup, then drop the bitmaps; don't free leaks before that."sv,
     .spec = "Bitmaps extension"sv, .deep = false, .refused_by_qemu = true},
    {.code = 1105, .name = "bitmap/directory-past-eof"sv,
     .severity = Severity::error, .lesser = Severity::error, .reader = Reader::refuse_write,
     .remedy = Remedy::drop_bitmaps, .reason = Reason::repairable, .consent = Consent::lossy,
     .title = "the bitmap directory reaches past the end of the file"sv,
     .explanation =
         "The directory lies inside the file. QEMU reads zeros for the missing part and then refuses the "
         "whole image."sv,
     .consequence = "Bitmaps are lost; QEMU doesn't open the image. The disk's content is intact."sv,
     .advice =
         "If the file was cut, get the missing part; otherwise make a full backup, then drop the bitmaps."sv,
     .spec = "Bitmap directory; D34"sv, .deep = false, .refused_by_qemu = true},
    {.code = 1106, .name = "bitmap/directory-count"sv,
     .severity = Severity::error, .lesser = Severity::error, .reader = Reader::refuse_write,
     .remedy = Remedy::recount_bitmaps, .reason = Reason::repairable, .consent = Consent::choice,
     .title = "the bitmap directory's size does not fit its entries"sv,
     .explanation =
         "Going through the stated number of entries ends exactly at the stated size. QEMU refuses the "
         "whole image."sv,
     .consequence =
         "Bitmaps may be missing or misread; QEMU doesn't open the image. The disk's content is intact."sv,
     .advice = "Make a full backup, then drop the bitmaps; don't free leaks before that."sv,
     .spec = "Bitmap directory"sv, .deep = false, .refused_by_qemu = true},
    {.code = 1107, .name = "bitmap/entry-bounds"sv,
     .severity = Severity::error, .lesser = Severity::error, .reader = Reader::refuse_write,
     .remedy = Remedy::drop_bitmaps, .reason = Reason::repairable, .consent = Consent::lossy,
     .title = "a bitmap directory entry's lengths do not fit"sv,
     .explanation =
         "Fixed part, extra data and name, padded to a multiple of 8 bytes, fit into what remains of the "
         "directory. QEMU refuses the whole image."sv,
     .consequence =
         "This bitmap and all behind it can't be read; QEMU doesn't open the image. The disk's content is "
         "intact."sv,
     .advice = "Make a full backup, then drop the bitmaps; don't free leaks before that."sv,
     .spec = "Bitmap directory"sv, .deep = false, .refused_by_qemu = true},
    {.code = 1108, .name = "bitmap/table-offset"sv,
     .severity = Severity::error, .lesser = Severity::error, .reader = Reader::refuse_write,
     .remedy = Remedy::drop_bitmap, .reason = Reason::repairable, .consent = Consent::lossy,
     .title = "a bitmap's table has an impossible position"sv,
     .explanation = "The table begins at a cluster boundary other than 0. QEMU refuses the whole image."sv,
     .consequence = "The bitmap can't be read; QEMU doesn't open the image. The disk's content is intact."sv,
     .advice = "Make a full backup, then drop the bitmap."sv,
     .spec = "Bitmap directory"sv, .deep = false, .refused_by_qemu = true},
    {.code = 1109, .name = "bitmap/table-size-range"sv,
     .severity = Severity::error, .lesser = Severity::error, .reader = Reader::refuse_write,
     .remedy = Remedy::drop_bitmap, .reason = Reason::repairable, .consent = Consent::lossy,
     .title = "a bitmap's table has no entries or too many"sv,
     .explanation =
         "The table has at least one entry, and QEMU allows 134217728 entries and 512 MiB of data. It "
         "refuses the whole image otherwise."sv,
     .consequence =
         "The bitmap can't be read safely; QEMU doesn't open the image. The disk's content is intact."sv,
     .advice = "Make a full backup, then drop the bitmap."sv,
     .spec = "Bitmap directory"sv, .deep = false, .refused_by_qemu = true},
    {.code = 1110, .name = "bitmap/table-size-match"sv,
     .severity = Severity::error, .lesser = Severity::error, .reader = Reader::tolerate,
     .remedy = Remedy::drop_bitmap, .reason = Reason::repairable, .consent = Consent::lossy,
     .title = "a bitmap's table does not fit the disk size and the granularity"sv,
     .explanation =
         "The table has as many entries as it takes to cover the disk at the bitmap's granularity, unless "
         "the bitmap is marked as in use: then a resize may have been interrupted. QEMU refuses the whole "
         "image."sv,
     .consequence =
         "The bitmap doesn't cover the disk, so an incremental backup would miss changes; QEMU doesn't "
         "open the image."sv,
     .advice = "Make a full backup, then drop the bitmap."sv,
     .spec = "Bitmap directory"sv, .deep = false, .refused_by_qemu = true},
    {.code = 1111, .name = "bitmap/table-past-eof"sv,
     .severity = Severity::error, .lesser = Severity::error, .reader = Reader::refuse_write,
     .remedy = Remedy::drop_bitmap, .reason = Reason::repairable, .consent = Consent::lossy,
     .title = "a bitmap's table reaches past the end of the file"sv,
     .explanation =
         "The table lies inside the file. QEMU opens the image and takes the missing part for zeros, "
         "which means that nothing changed; its repair frees the data clusters."sv,
     .consequence = "An incremental backup made with QEMU silently misses data."sv,
     .advice = "Don't make incremental backups; make a full one, then drop the bitmap."sv,
     .spec = "Bitmap table; D34"sv, .deep = false},
    {.code = 1112, .name = "bitmap/flags-reserved"sv,
     .severity = Severity::error, .lesser = Severity::error, .reader = Reader::tolerate,
     .remedy = Remedy::drop_bitmap, .reason = Reason::repairable, .consent = Consent::lossy,
     .title = "a bitmap has unknown flags"sv,
     .explanation =
         "Flag bits 3 to 31 are zero. A later version of the format may use them. QEMU refuses the whole "
         "image."sv,
     .consequence =
         "What the bitmap means is unknown; QEMU doesn't open the image. The disk's content is intact."sv,
     .advice = "Find out which program wrote the bitmap; make a full backup."sv,
     .spec = "Bitmap directory"sv, .deep = false, .refused_by_qemu = true},
    {.code = 1113, .name = "bitmap/flag-extra-compatible"sv,
     .severity = Severity::error, .lesser = Severity::error, .reader = Reader::tolerate,
     .remedy = Remedy::drop_bitmap, .reason = Reason::repairable, .consent = Consent::lossy,
     .title = "a bitmap has the flag for compatible extra data, which QEMU refuses"sv,
     .explanation =
         "Flag bit 2 is legal: unknown extra data may be ignored. QEMU treats the bit as reserved and "
         "refuses the whole image."sv,
     .consequence = "QEMU doesn't open the image. The disk's content is intact."sv,
     .advice = "Use the program that wrote the bitmap, or drop it after a full backup."sv,
     .spec = "Bitmap directory; D9"sv, .deep = false, .refused_by_qemu = true},
    {.code = 1114, .name = "bitmap/extra-data"sv,
     .severity = Severity::error, .lesser = Severity::error, .reader = Reader::tolerate,
     .remedy = Remedy::drop_bitmap, .reason = Reason::repairable, .consent = Consent::lossy,
     .title = "a bitmap has unknown extra data"sv,
     .explanation =
         "No extra data is defined. With flag bit 2 the bitmap may be used without knowing it, otherwise "
         "it may not. QEMU refuses the whole image in either case."sv,
     .consequence = "QEMU doesn't open the image. The disk's content is intact."sv,
     .advice = "Use the program that wrote the bitmap, or drop it after a full backup."sv,
     .spec = "Bitmap directory; D9"sv, .deep = false, .refused_by_qemu = true},
    {.code = 1115, .name = "bitmap/in-use"sv,
     .severity = Severity::warning, .lesser = Severity::warning, .reader = Reader::tolerate,
     .remedy = Remedy::none, .reason = Reason::n4_would_discard, .consent = Consent::none,
     .title = "a bitmap was not saved: it is marked as in use"sv,
     .explanation =
         "A program that changes a bitmap in memory marks it as in use, and clears the mark when it saves "
         "it. The mark in a closed image shows a crash or a copy of a running image, and the content "
         "isn't up to date. QEMU keeps the bitmap but doesn't use it; its check doesn't mention it."sv,
     .consequence = "An incremental backup that trusted the bitmap would miss changes."sv,
     .advice = "Make a full backup and create the bitmap anew; don't clear the mark."sv,
     .spec = "Bitmap directory"sv, .deep = false},
    {.code = 1116, .name = "bitmap/type"sv,
     .severity = Severity::error, .lesser = Severity::error, .reader = Reader::tolerate,
     .remedy = Remedy::drop_bitmap, .reason = Reason::repairable, .consent = Consent::lossy,
     .title = "a bitmap has an unknown type"sv,
     .explanation = "Type 1, dirty tracking, is the only one. QEMU refuses the whole image."sv,
     .consequence =
         "What the bitmap means is unknown; QEMU doesn't open the image. The disk's content is intact."sv,
     .advice = "Find out which program wrote the bitmap; make a full backup."sv,
     .spec = "Bitmap directory"sv, .deep = false, .refused_by_qemu = true},
    {.code = 1117, .name = "bitmap/granularity"sv,
     .severity = Severity::error, .lesser = Severity::error, .reader = Reader::tolerate,
     .remedy = Remedy::drop_bitmap, .reason = Reason::repairable, .consent = Consent::lossy,
     .title = "a bitmap's granularity is outside the range that QEMU accepts"sv,
     .explanation =
         "The format allows 2^0 to 2^63 bytes for each bit, QEMU 2^9 to 2^31. QEMU refuses the whole "
         "image."sv,
     .consequence = "QEMU doesn't open the image. The disk's content is intact."sv,
     .advice = "Make a full backup, then have the bitmap dropped."sv,
     .spec = "Bitmap directory; D8"sv, .deep = false, .refused_by_qemu = true},
    {.code = 1118, .name = "bitmap/name-length"sv,
     .severity = Severity::error, .lesser = Severity::error, .reader = Reader::tolerate,
     .remedy = Remedy::drop_bitmap, .reason = Reason::repairable, .consent = Consent::lossy,
     .title = "a bitmap's name is empty or longer than 1023 bytes"sv,
     .explanation =
         "A name has at least one byte, which QEMU doesn't check, and at most 1023 for QEMU, which "
         "refuses the whole image otherwise."sv,
     .consequence =
         "No command can name a bitmap without a name; QEMU doesn't open an image with a longer one."sv,
     .advice = "Make a full backup, then have the bitmap dropped."sv,
     .spec = "Bitmap directory; D10"sv, .deep = false},
    {.code = 1119, .name = "bitmap/name-duplicate"sv,
     .severity = Severity::error, .lesser = Severity::error, .reader = Reader::tolerate,
     .remedy = Remedy::drop_bitmap, .reason = Reason::repairable, .consent = Consent::lossy,
     .title = "two bitmaps have the same name"sv,
     .explanation = "Names are unique in the image. QEMU refuses the whole image."sv,
     .consequence =
         "Which of the two a backup means is unknown; QEMU doesn't open the image. The disk's content is "
         "intact."sv,
     .advice = "Make a full backup, then have one of them dropped."sv,
     .spec = "Bitmap directory"sv, .deep = false, .refused_by_qemu = true},
    {.code = 1120, .name = "bitmap/name-text"sv,
     .severity = Severity::warning, .lesser = Severity::warning, .reader = Reader::tolerate,
     .remedy = Remedy::none, .reason = Reason::n2_two_readings, .consent = Consent::none,
     .title = "a bitmap's name is not clean text"sv,
     .explanation = "The name is text without NUL and control characters. QEMU cuts it at a NUL."sv,
     .consequence = "Commands may not find the bitmap, or may find another one."sv,
     .advice = "Make a full backup and create the bitmap anew under a clean name."sv,
     .spec = "Bitmap directory"sv, .deep = false},
    {.code = 1121, .name = "bitmap/padding-nonzero"sv,
     .severity = Severity::warning, .lesser = Severity::warning, .reader = Reader::tolerate,
     .remedy = Remedy::none, .reason = Reason::n7_not_yet, .consent = Consent::none,
     .title = "the padding behind a bitmap directory entry is not zero"sv,
     .explanation = "Entries are padded with zeros to a multiple of 8 bytes. QEMU doesn't check it."sv,
     .consequence = "None; the bytes may be a remnant or hidden data."sv,
     .advice = "Have them zeroed if a stricter program complains."sv,
     .spec = "Bitmap directory; D11"sv, .deep = false},
    {.code = 1122, .name = "bitmap/table-entry-reserved"sv,
     .severity = Severity::error, .lesser = Severity::error, .reader = Reader::tolerate,
     .remedy = Remedy::clear_reserved_bits, .reason = Reason::repairable, .consent = Consent::choice,
     .title = "a bitmap table entry has reserved bits set"sv,
     .explanation = "Bits 1 to 8 and 56 to 63 are zero. QEMU refuses the whole image."sv,
     .consequence =
         "The bitmap can't be trusted; QEMU doesn't open the image. The disk's content is intact."sv,
     .advice = "Make a full backup, then drop the bitmap."sv,
     .spec = "Bitmap table"sv, .deep = false, .refused_by_qemu = true},
    {.code = 1123, .name = "bitmap/table-entry-ones"sv,
     .severity = Severity::error, .lesser = Severity::error, .reader = Reader::tolerate,
     .remedy = Remedy::drop_bitmap, .reason = Reason::repairable, .consent = Consent::lossy,
     .title = "a bitmap table entry both points to data and says that all bits are one"sv,
     .explanation =
         "Bit 0 says \"all ones\" and is used only without an offset. QEMU refuses the whole image."sv,
     .consequence =
         "The bitmap can't be trusted; QEMU doesn't open the image. The disk's content is intact."sv,
     .advice = "Make a full backup, then drop the bitmap."sv,
     .spec = "Bitmap table"sv, .deep = false, .refused_by_qemu = true},
    {.code = 1124, .name = "bitmap/table-entry-unaligned"sv,
     .severity = Severity::error, .lesser = Severity::error, .reader = Reader::tolerate,
     .remedy = Remedy::drop_bitmap, .reason = Reason::repairable, .consent = Consent::lossy,
     .title = "a bitmap's data is not cluster aligned"sv,
     .explanation = "Bitmap data takes whole clusters. QEMU refuses the whole image."sv,
     .consequence = "The bitmap can't be read; QEMU doesn't open the image. The disk's content is intact."sv,
     .advice = "Make a full backup, then drop the bitmap."sv,
     .spec = "Bitmap table"sv, .deep = false, .refused_by_qemu = true},
    {.code = 1125, .name = "bitmap/data-past-eof"sv,
     .severity = Severity::error, .lesser = Severity::error, .reader = Reader::tolerate,
     .remedy = Remedy::drop_bitmap, .reason = Reason::repairable, .consent = Consent::lossy,
     .title = "a bitmap's data lies past the end of the file"sv,
     .explanation =
         "The data lies inside the file. QEMU opens the image and takes the missing part for zeros, which "
         "means that nothing changed."sv,
     .consequence = "An incremental backup made with QEMU silently misses data."sv,
     .advice = "Don't make incremental backups; make a full one, then drop the bitmap."sv,
     .spec = "Bitmap data"sv, .deep = false},
    {.code = 1126, .name = "bitmap/data-tail"sv,
     .severity = Severity::warning, .lesser = Severity::warning, .reader = Reader::tolerate,
     .remedy = Remedy::none, .reason = Reason::n7_not_yet, .consent = Consent::none,
     .title = "a bitmap has bits set behind the end of the disk"sv,
     .explanation =
         "Bits of the last data cluster that lie behind the bitmap's end are zero. QEMU doesn't check it."sv,
     .consequence = "None for the disk; a stricter program may refuse the bitmap."sv,
     .advice = "Have them zeroed if a stricter program complains."sv,
     .spec = "Bitmap data; D11"sv, .deep = false},
    {.code = 1127, .name = "bitmap/data-overlap"sv,
     .severity = Severity::error, .lesser = Severity::error, .reader = Reader::refuse_write,
     .remedy = Remedy::drop_bitmap, .reason = Reason::repairable, .consent = Consent::lossy,
     .title = "a bitmap's data or table uses a cluster that something else owns"sv,
     .explanation =
         "The clusters of a bitmap are owned by it alone. QEMU sees a wrong refcount at most, and its "
         "repair raises it, after which the image is called clean."sv,
     .consequence = "Saving the bitmap overwrites the other owner's content, and the other way round."sv,
     .advice =
         "Look at the owners named here: one of the two is damaged. Don't start a virtual machine that "
         "uses the bitmap."sv,
     .spec = "Bitmap data"sv, .deep = false},
    {.code = 1128, .name = "bitmap/v2"sv,
     .severity = Severity::warning, .lesser = Severity::warning, .reader = Reader::tolerate,
     .remedy = Remedy::none, .reason = Reason::n7_not_yet, .consent = Consent::none,
     .title = "a version 2 image has bitmaps, which are always stale there"sv,
     .explanation =
         "Version 2 has no autoclear bits, so nothing says that the bitmaps are current. QEMU warns, and "
         "drops the extension when it opens the image for writing."sv,
     .consequence = "An incremental backup that trusted these bitmaps would miss changes."sv,
     .advice = "Make a full backup; convert the image to version 3 if it is to have bitmaps."sv,
     .spec = "Bitmaps extension"sv, .deep = false},
    {.code = 1129, .name = "bitmap/size-history"sv,
     .severity = Severity::note, .lesser = Severity::note, .reader = Reader::tolerate,
     .remedy = Remedy::none, .reason = Reason::n3_legal, .consent = Consent::none,
     .title = "a bitmap in use covers another disk size than the current one"sv,
     .explanation =
         "All bitmaps cover the current disk. One that is marked as in use and doesn't shows that a "
         "resize was interrupted."sv,
     .consequence = "None beyond the bitmap itself."sv,
     .advice = "Make sure that the virtual disk size is right."sv,
     .spec = "Bitmap directory"sv, .deep = false},
};
// clang-format on

}  // namespace cowvet::findings::rules
