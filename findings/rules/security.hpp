// Area 18, security: hazards of images from people one doesn't trust. They don't make an image invalid, so
// they are warnings; text with control characters, foreign files as backing data, and the like are in the
// areas of their structures.
#pragma once

#include <string_view>

#include "findings/row.hpp"

namespace cowvet::findings::rules {

using namespace std::string_view_literals;

// clang-format off: a row is laid out by hand so that it reads as one.
inline constexpr Rule security[] = {
    {.code = 1801, .name = "security/data-file-host-file"sv,
     .severity = Severity::warning, .lesser = Severity::warning, .reader = Reader::refuse_open,
     .remedy = Remedy::none, .reason = Reason::n6_elsewhere, .consent = Consent::none,
     .title = "the external data file is named by a path that leaves the image's directory"sv,
     .explanation =
         "An untrusted image can name any file of the host as its data file, for reading and writing. "
         "QEMU opens it for a check already. Absolute names and names with \"..\" are reported."sv,
     .consequence = "A guest may read and overwrite a file of the host."sv,
     .advice = "Open the image only if you know why it names this file."sv,
     .spec = "String header extensions"sv, .deep = false},
    {.code = 1802, .name = "security/bitmap-memory"sv,
     .severity = Severity::warning, .lesser = Severity::warning, .reader = Reader::refuse_open,
     .remedy = Remedy::none, .reason = Reason::n6_elsewhere, .consent = Consent::none,
     .title = "loading the image's bitmaps takes more than a gigabyte of memory"sv,
     .explanation =
         "An image may have 65535 bitmaps of 512 MiB each, and QEMU loads all of them when it opens the "
         "image."sv,
     .consequence = "Opening the image may exhaust the host's memory."sv,
     .advice = "Don't open the image without a memory limit."sv,
     .spec = "Bitmaps"sv, .deep = false},
    {.code = 1803, .name = "security/snapshot-work"sv,
     .severity = Severity::warning, .lesser = Severity::warning, .reader = Reader::tolerate,
     .remedy = Remedy::none, .reason = Reason::n6_elsewhere, .consent = Consent::none,
     .title = "the snapshots refer to the same tables so often that a plain walk never ends"sv,
     .explanation =
         "Up to 65536 snapshots with 4194304 L1 entries each may all refer to the same L2 tables. This "
         "check reads each table once; QEMU reads it again for each reference."sv,
     .consequence = "Checking or deleting snapshots with QEMU may take days."sv,
     .advice = "Don't run qemu-img check on the image without a time limit."sv,
     .spec = "Snapshots"sv, .deep = false},
    {.code = 1804, .name = "security/l1-fanout"sv,
     .severity = Severity::warning, .lesser = Severity::warning, .reader = Reader::tolerate,
     .remedy = Remedy::none, .reason = Reason::n6_elsewhere, .consent = Consent::none,
     .title = "one L2 table is referred to by very many L1 entries"sv,
     .explanation =
         "No writer does that. This check reads each table once; QEMU reads it again for each reference."sv,
     .consequence = "Checking the image with QEMU may take days."sv,
     .advice = "Don't run qemu-img check on the image without a time limit."sv,
     .spec = "L1 table entry"sv, .deep = false},
    {.code = 1805, .name = "security/kdf-cost"sv,
     .severity = Severity::warning, .lesser = Severity::warning, .reader = Reader::tolerate,
     .remedy = Remedy::none, .reason = Reason::n6_elsewhere, .consent = Consent::none,
     .title = "unlocking the LUKS header is made excessively expensive"sv,
     .explanation =
         "The iteration counts go up to 2^32 - 1 for each key slot, and trying a password takes time in "
         "proportion. QEMU has no bound."sv,
     .consequence = "Unlocking the image may keep a processor busy for hours."sv,
     .advice = "Unlock the image only with a time limit."sv,
     .spec = "Full disk encryption header pointer"sv, .deep = false},
    {.code = 1806, .name = "security/virtual-size-bomb"sv,
     .severity = Severity::warning, .lesser = Severity::warning, .reader = Reader::tolerate,
     .remedy = Remedy::none, .reason = Reason::n6_elsewhere, .consent = Consent::none,
     .title = "a tiny file declares an enormous virtual disk"sv,
     .explanation =
         "The disk is 64 TiB or larger and more than a million times as large as the file. That is legal, "
         "but a copy to a raw file, or a checksum of the content, has to go through all of it."sv,
     .consequence = "Copying or hashing the image may fill the disk or take days."sv,
     .advice = "Limit size and time when the image is converted."sv,
     .spec = "Header: size"sv, .deep = false},
    {.code = 1807, .name = "security/guest-sector-magic"sv,
     .severity = Severity::warning, .lesser = Severity::warning, .reader = Reader::tolerate,
     .remedy = Remedy::none, .reason = Reason::n6_elsewhere, .consent = Consent::none,
     .title = "the guest disk begins with the header of an image format"sv,
     .explanation =
         "If the disk's content is copied to a raw file and its format is guessed later, the guest has "
         "chosen the format, and through a backing file name in that header which files of the host are "
         "opened."sv,
     .consequence = "A guest may gain access to files of the host once the image was converted to raw."sv,
     .advice = "Record the format wherever a raw copy of this disk is used."sv,
     .spec = "Cluster mapping"sv, .deep = true},
};
// clang-format on

}  // namespace cowvet::findings::rules
