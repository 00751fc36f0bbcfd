// Area 1, header: the fixed part of the first cluster. Everything else in the file is found through it, so
// most faults here are fatal: a wrong cluster size or table position makes every later offset mean something
// else. The rows for pointers from the header into another structure's bytes are in the areas of the
// structures and in overlap.
#pragma once

#include <string_view>

#include "findings/row.hpp"

namespace cowvet::findings::rules {

using namespace std::string_view_literals;

// clang-format off: a row is laid out by hand so that it reads as one.
inline constexpr Rule header[] = {
    {.code = 101, .name = "header/file-too-short"sv,
     .severity = Severity::fatal, .lesser = Severity::fatal, .reader = Reader::refuse_open,
     .remedy = Remedy::none, .reason = Reason::n1_not_recorded, .consent = Consent::none,
     .title = "the file is too short to hold a qcow2 header"sv,
     .explanation =
         "A version 2 header takes 72 bytes, a version 3 header at least 104 and as many as its length "
         "field says. A file that ends earlier holds no complete image. QEMU refuses it with a misleading "
         "reason, because it reads the missing bytes as zeros."sv,
     .consequence = "Nothing of the image can be reached through this file."sv,
     .advice = "Get the file again from where it came from; don't pad it and retry."sv,
     .spec = "Header"sv, .deep = false},
    {.code = 102, .name = "header/magic"sv,
     .severity = Severity::fatal, .lesser = Severity::fatal, .reader = Reader::refuse_open,
     .remedy = Remedy::none, .reason = Reason::n1_not_recorded, .consent = Consent::none,
     .title = "the file does not begin with the qcow2 magic"sv,
     .explanation =
         "Bytes 0 to 3 are 51 46 49 FB in every qcow2 image. Without them the file is another format, a "
         "raw disk, or an image whose first bytes were overwritten. QEMU takes such a file for a raw disk "
         "unless the format is given."sv,
     .consequence =
         "Programs that guess the format treat the whole container as a raw disk, and a write through one "
         "of them destroys it."sv,
     .advice =
         "If the file should be qcow2, leave it untouched and rebuild the header into a copy; never write "
         "the magic by hand."sv,
     .spec = "Header"sv, .deep = false},
    {.code = 103, .name = "header/version"sv,
     .severity = Severity::fatal, .lesser = Severity::fatal, .reader = Reader::refuse_open,
     .remedy = Remedy::none, .reason = Reason::n1_not_recorded, .consent = Consent::none,
     .title = "the header states a version other than 2 or 3"sv,
     .explanation =
         "Versions 2 and 3 are the only ones with this layout. Version 1 is the older qcow format, which "
         "is laid out differently, and higher numbers are unknown. QEMU refuses the image."sv,
     .consequence = "The layout of everything after the version field is unknown."sv,
     .advice =
         "If a known version was damaged, rebuild the header into a copy; otherwise use the program that "
         "wrote the file."sv,
     .spec = "Header"sv, .deep = false},
    {.code = 104, .name = "header/version-misflagged"sv,
     .severity = Severity::error, .lesser = Severity::error, .reader = Reader::refuse_write,
     .remedy = Remedy::correct_header, .reason = Reason::repairable, .consent = Consent::choice,
     .title = "the header says version 2, but version 3 fields follow it"sv,
     .explanation =
         "In version 2 the header extensions begin at byte 72. Here the bytes from 72 on read as a list "
         "that ends at once, yet a valid refcount width and header length stand where version 3 keeps "
         "them. One flipped bit turns version 3 into 2; read as version 2 the feature bits vanish and "
         "zero clusters become invalid. QEMU believes the version field."sv,
     .consequence =
         "Read as version 2, the image loses its feature bits, its extensions and its zero clusters, and "
         "a write makes that permanent."sv,
     .advice = "Don't write to the image; work on a copy and compare what each version makes of it."sv,
     .spec = "Header"sv, .deep = false},
    {.code = 105, .name = "header/cluster-bits-range"sv,
     .severity = Severity::fatal, .lesser = Severity::fatal, .reader = Reader::refuse_open,
     .remedy = Remedy::none, .reason = Reason::n1_not_recorded, .consent = Consent::none,
     .title = "the cluster size is outside 512 bytes to 2 MiB"sv,
     .explanation =
         "cluster_bits is between 9 and 21. The lower limit is the format's, the upper one is QEMU's, and "
         "every length limit derives from it. QEMU refuses the image."sv,
     .consequence = "No offset in the file can be turned into a cluster, so nothing can be read."sv,
     .advice =
         "Infer the cluster size from the tables' alignment, in a copy, or restore the header from a "
         "backup."sv,
     .spec = "Header; D24"sv, .deep = false},
    {.code = 106, .name = "header/length-too-small"sv,
     .severity = Severity::fatal, .lesser = Severity::fatal, .reader = Reader::refuse_open,
     .remedy = Remedy::correct_header, .reason = Reason::repairable, .consent = Consent::choice,
     .title = "the stated header length is less than 104 bytes"sv,
     .explanation =
         "A version 3 header is at least 104 bytes long. With a smaller length the start of the extension "
         "area is unknown. QEMU refuses the image."sv,
     .consequence =
         "Extensions that change how the image is read, such as the backing format or the encryption "
         "header, can't be found."sv,
     .advice = "Rebuild the header into a copy."sv,
     .spec = "Additional fields"sv, .deep = false},
    {.code = 107, .name = "header/length-too-large"sv,
     .severity = Severity::fatal, .lesser = Severity::fatal, .reader = Reader::refuse_open,
     .remedy = Remedy::correct_header, .reason = Reason::repairable, .consent = Consent::choice,
     .title = "the stated header length exceeds one cluster"sv,
     .explanation =
         "The header, its extensions and the backing file name share the first cluster, so the header "
         "length is at most the cluster size. QEMU refuses the image."sv,
     .consequence =
         "Extensions that change how the image is read, such as the backing format or the encryption "
         "header, can't be found."sv,
     .advice = "Rebuild the header into a copy."sv,
     .spec = "Additional fields"sv, .deep = false},
    {.code = 108, .name = "header/length-unaligned"sv,
     .severity = Severity::error, .lesser = Severity::error, .reader = Reader::refuse_write,
     .remedy = Remedy::correct_header, .reason = Reason::repairable, .consent = Consent::choice,
     .title = "the stated header length is not a multiple of 8"sv,
     .explanation =
         "The extension area begins where the header ends, and the format wants that on an 8-byte "
         "boundary. QEMU doesn't check it and reads the extensions from the odd place; a program that "
         "rounds reads others. The extensions are read here as QEMU reads them."sv,
     .consequence =
         "Two programs may see different extensions, and so a different backing format, data file or "
         "encryption header."sv,
     .advice = "Compare the extensions shown with what the image should have before anything writes to it."sv,
     .spec = "Additional fields; D1"sv, .deep = false},
    {.code = 109, .name = "header/padding-nonzero"sv,
     .severity = Severity::warning, .lesser = Severity::warning, .reader = Reader::tolerate,
     .remedy = Remedy::none, .reason = Reason::n7_not_yet, .consent = Consent::none,
     .title = "the padding behind the compression type is not zero"sv,
     .explanation =
         "Bytes 105 to 111 are zero so that a later version of the format can give them a meaning. QEMU "
         "ignores them and zeroes them at the next header rewrite. They may belong to a field that is "
         "newer than this program."sv,
     .consequence = "A newer program may read a meaning into these bytes that the writer never intended."sv,
     .advice =
         "Find out which program wrote the image; zero the bytes only when no newer writer is involved."sv,
     .spec = "Header padding; D2"sv, .deep = false},
    {.code = 110, .name = "header/unknown-fields"sv,
     .severity = Severity::note, .lesser = Severity::note, .reader = Reader::tolerate,
     .remedy = Remedy::none, .reason = Reason::n3_legal, .consent = Consent::none,
     .title = "the header has fields that are newer than this program"sv,
     .explanation =
         "A longer header than the known 112 bytes is legal: unknown fields that matter come with an "
         "incompatible feature bit. They must be kept when the header is rewritten, as QEMU does."sv,
     .consequence = "None as long as programs that rewrite the header keep the bytes."sv,
     .advice = "Nothing to do; a newer program may know what the fields mean."sv,
     .spec = "Additional fields"sv, .deep = false},
    {.code = 111, .name = "header/size-limit"sv,
     .severity = Severity::fatal, .lesser = Severity::fatal, .reader = Reader::refuse_open,
     .remedy = Remedy::correct_header, .reason = Reason::repairable, .consent = Consent::choice,
     .title = "the virtual disk size is impossibly large"sv,
     .explanation =
         "The virtual size is at most 7FFFFFFFC0000000 hex, the largest disk QEMU can address. A size "
         "close to 2^64 wraps around when it is rounded up, and then seems to need no L1 table at all. "
         "QEMU refuses such images."sv,
     .consequence =
         "The size of the guest disk is unknown, so where its end lies and which entries belong to it is "
         "too."sv,
     .advice =
         "Restore the size field from a backup of the header or from the virtual machine's own "
         "configuration, in a copy."sv,
     .spec = "implementation limit (QEMU)"sv, .deep = false},
    {.code = 112, .name = "header/size-sector-multiple"sv,
     .severity = Severity::warning, .lesser = Severity::warning, .reader = Reader::tolerate,
     .remedy = Remedy::correct_header, .reason = Reason::repairable, .consent = Consent::choice,
     .title = "the virtual disk size is not a multiple of 512 bytes"sv,
     .explanation =
         "The format counts the disk in bytes, QEMU in sectors. QEMU presents the size rounded down and "
         "stores the rounded value at its next header rewrite."sv,
     .consequence =
         "The bytes after the last whole sector are invisible in QEMU and lost at its next header "
         "rewrite."sv,
     .advice = "Grow the disk to the next multiple of 512 before the image is written with QEMU."sv,
     .spec = "Header; D23"sv, .deep = false},
    {.code = 113, .name = "header/l1-coverage"sv,
     .severity = Severity::fatal, .lesser = Severity::fatal, .reader = Reader::refuse_open,
     .remedy = Remedy::correct_header, .reason = Reason::repairable, .consent = Consent::choice,
     .title = "the L1 table is too small for the virtual disk size"sv,
     .explanation =
         "The L1 table has an entry for every stretch of the disk that one L2 table covers. A shorter "
         "table leaves the end of the disk undefined, or shows that the size, the table length, the "
         "cluster size or the extended L2 bit is damaged. QEMU refuses the image."sv,
     .consequence =
         "The end of the disk can't be read, and a program that assumes unallocated clusters there serves "
         "wrong data."sv,
     .advice =
         "Don't shrink the size or extend the table; find out which of the two fields is wrong and mend "
         "it in a copy."sv,
     .spec = "implementation limit (QEMU); D38"sv, .deep = false},
    {.code = 114, .name = "header/l1-size-limit"sv,
     .severity = Severity::fatal, .lesser = Severity::fatal, .reader = Reader::refuse_open,
     .remedy = Remedy::correct_header, .reason = Reason::repairable, .consent = Consent::choice,
     .title = "the L1 table is longer than 32 MiB"sv,
     .explanation =
         "QEMU refuses an L1 table of more than 4194304 entries. No image that QEMU made has one, so the "
         "length field is probably damaged."sv,
     .consequence = "Which bytes belong to the L1 table is unknown, and so is the disk's content."sv,
     .advice = "Restore the length from the virtual disk size and the cluster size, in a copy."sv,
     .spec = "implementation limit (QEMU)"sv, .deep = false},
    {.code = 115, .name = "header/l1-offset-unaligned"sv,
     .severity = Severity::fatal, .lesser = Severity::fatal, .reader = Reader::refuse_open,
     .remedy = Remedy::relink_structure, .reason = Reason::repairable, .consent = Consent::choice,
     .title = "the L1 table does not begin at a cluster boundary"sv,
     .explanation =
         "l1_table_offset is a multiple of the cluster size. Masking the low bits would choose a table by "
         "guesswork. QEMU refuses the image."sv,
     .consequence = "The disk's content can't be reached: everything hangs from the L1 table."sv,
     .advice = "Look for the real L1 table among the unreferenced clusters and mend the field in a copy."sv,
     .spec = "Header"sv, .deep = false},
    {.code = 116, .name = "header/l1-offset-overflow"sv,
     .severity = Severity::fatal, .lesser = Severity::fatal, .reader = Reader::refuse_open,
     .remedy = Remedy::relink_structure, .reason = Reason::repairable, .consent = Consent::choice,
     .title = "the L1 table's position is beyond every possible file"sv,
     .explanation =
         "The end of the L1 table, offset plus 8 bytes an entry, is at most 2^63 - 1. QEMU refuses the "
         "image."sv,
     .consequence = "The disk's content can't be reached: everything hangs from the L1 table."sv,
     .advice = "Look for the real L1 table among the unreferenced clusters and mend the field in a copy."sv,
     .spec = "Header"sv, .deep = false},
    {.code = 117, .name = "header/l1-offset-zero"sv,
     .severity = Severity::fatal, .lesser = Severity::fatal, .reader = Reader::refuse_open,
     .remedy = Remedy::relink_structure, .reason = Reason::repairable, .consent = Consent::choice,
     .title = "the L1 table's offset is zero, where the header is"sv,
     .explanation =
         "Offset 0 holds the header, so it can't hold the L1 table as well. QEMU's check reads the header "
         "as a table, takes the real tables and data for leaks, and its repair frees and zeroes them."sv,
     .consequence = "Every cluster of the disk looks unreferenced; any leak repair destroys all data."sv,
     .advice = "Don't run any repair; look for the real L1 table among the unreferenced clusters."sv,
     .spec = "Header"sv, .deep = false},
    {.code = 118, .name = "header/snapshot-pointer-pair"sv,
     .severity = Severity::fatal, .lesser = Severity::note, .reader = Reader::refuse_write,
     .remedy = Remedy::correct_header, .reason = Reason::repairable, .consent = Consent::lossy,
     .title = "the number of snapshots and the snapshot table's offset contradict each other"sv,
     .explanation =
         "A number of snapshots needs a table, and offset 0 is the header. An offset without a number is "
         "legal but says that a table once was there. QEMU parses the header as a snapshot table in the "
         "first case; in the second it calls the old table's clusters leaks, and its leak repair frees "
         "the snapshots."sv,
     .consequence =
         "The internal snapshots can't be reached, and what only they own looks like leaked space."sv,
     .advice = "Don't free leaks; look for the snapshot table among the unreferenced clusters first."sv,
     .spec = "Header"sv, .deep = false},
    {.code = 119, .name = "header/slack-nonzero"sv,
     .severity = Severity::warning, .lesser = Severity::warning, .reader = Reader::tolerate,
     .remedy = Remedy::none, .reason = Reason::n4_would_discard, .consent = Consent::none,
     .title = "unused bytes of the first cluster are not zero"sv,
     .explanation =
         "The first cluster holds the header, the extensions and the backing file name, and nothing else. "
         "Bytes behind the end of the extension list, or around the name, may be the rest of an older "
         "header or backing name, hidden data, or a sign that the list was cut. QEMU ignores them and "
         "zeroes them at its next header rewrite."sv,
     .consequence =
         "Extensions behind a damaged end record are not seen, and the bytes vanish at the next header "
         "rewrite."sv,
     .advice = "Look at the bytes before the image is opened for writing; keep a copy if they matter."sv,
     .spec = "Header extensions"sv, .deep = false},
    {.code = 120, .name = "header/refcount-order-range"sv,
     .severity = Severity::fatal, .lesser = Severity::fatal, .reader = Reader::refuse_open,
     .remedy = Remedy::none, .reason = Reason::n1_not_recorded, .consent = Consent::none,
     .title = "the refcount width is greater than 64 bits"sv,
     .explanation =
         "refcount_order is between 0 and 6, for refcounts of 1 to 64 bits. QEMU refuses the image."sv,
     .consequence =
         "Refcounts can't be read, so nothing may be written; the disk's content itself is not concerned."sv,
     .advice = "The width of nearly all images is 16 bits; restore the field in a copy and check again."sv,
     .spec = "Additional fields"sv, .deep = false},
    {.code = 121, .name = "header/crypt-method"sv,
     .severity = Severity::fatal, .lesser = Severity::fatal, .reader = Reader::refuse_open,
     .remedy = Remedy::correct_header, .reason = Reason::repairable, .consent = Consent::choice,
     .title = "the encryption method is unknown"sv,
     .explanation =
         "crypt_method is 0 for none, 1 for the old AES method or 2 for LUKS. Opening the image as if it "
         "weren't encrypted would show the guest ciphertext and store plain text among it. QEMU refuses "
         "the image."sv,
     .consequence =
         "Without the right method the data can't be decrypted, and a write would mix plain text with "
         "ciphertext."sv,
     .advice = "An encryption header extension speaks for LUKS; restore the field in a copy."sv,
     .spec = "Header"sv, .deep = false},
    {.code = 122, .name = "header/inferred"sv,
     .severity = Severity::error, .lesser = Severity::error, .reader = Reader::refuse_open,
     .remedy = Remedy::correct_header, .reason = Reason::repairable, .consent = Consent::choice,
     .title = "the header is unusable; cluster size and table positions were inferred"sv,
     .explanation =
         "The header couldn't be believed, so the geometry was inferred from the alignment and the "
         "content of the tables in the file. Every finding that rests on it is marked as inferred. QEMU "
         "doesn't open such a file at all."sv,
     .consequence =
         "The image can't be opened as it is; what the findings say about its content holds only if the "
         "inferred geometry is right."sv,
     .advice = "Keep the file unchanged and rebuild the header into a copy from the inferred geometry."sv,
     .spec = "Header"sv, .deep = false},
    {.code = 123, .name = "header/geometry-misread"sv,
     .severity = Severity::fatal, .lesser = Severity::fatal, .reader = Reader::refuse_open,
     .remedy = Remedy::correct_header, .reason = Reason::repairable, .consent = Consent::choice,
     .title = "the header states another cluster size or refcount width than the image is written with"sv,
     .explanation =
         "Every offset is cut into clusters by cluster_bits, and every refcount is found by refcount_order. "
         "Another legal value makes sound tables look damaged all over. Here nearly everything is valid "
         "when one of the two fields is read with another value, so that field was probably damaged. What "
         "else is reported holds for that reading. QEMU doesn't notice the cause: it reports the errors "
         "that follow from it, and its repair makes them real."sv,
     .consequence =
         "Read as the header says, the guest sees wrong data, and a write or a repair destroys the image."sv,
     .advice =
         "Don't write to the image and don't let any program repair it; correct the field in a copy and "
         "check that."sv,
     .spec = "Header"sv, .deep = false},
};
// clang-format on

}  // namespace cowvet::findings::rules
