// Area 9, compressed: descriptors of compressed clusters and, with --deep, the payload they point to. A
// descriptor names a byte offset and a number of 512-byte sectors; several payloads may share a cluster and
// neighbours may share a sector. QEMU never decodes a payload in a check, so none of the faults in payloads
// is ever seen there.
#pragma once

#include <string_view>

#include "findings/row.hpp"

namespace cowvet::findings::rules {

using namespace std::string_view_literals;

// clang-format off: a row is laid out by hand so that it reads as one.
inline constexpr Rule compressed[] = {
    {.code = 901, .name = "compressed/copied-set"sv,
     .severity = Severity::error, .lesser = Severity::error, .reader = Reader::refuse_write,
     .remedy = Remedy::clear_copied, .reason = Reason::repairable, .consent = Consent::lossless,
     .title = "a compressed cluster has the COPIED bit set"sv,
     .explanation =
         "Compressed clusters are never overwritten in place, so the bit is zero. QEMU's check reports "
         "it, no repair mends it, and reading and writing go on."sv,
     .consequence = "If another bit of the entry is damaged too, the wrong bytes are decoded."sv,
     .advice = "Let a repair clear the bit if the payload decodes."sv,
     .spec = "Compressed cluster descriptor"sv, .deep = false},
    {.code = 902, .name = "compressed/offset-high-bits"sv,
     .severity = Severity::error, .lesser = Severity::error, .reader = Reader::fail_read,
     .remedy = Remedy::give_up_content, .reason = Reason::repairable, .consent = Consent::lossy,
     .title = "a compressed cluster's offset has bits set above bit 55"sv,
     .explanation =
         "With clusters below 16 KiB the offset field is wider than host offsets may be; the surplus bits "
         "are zero. QEMU only notices that the offset is past the end of the file."sv,
     .consequence = "The guest cluster can't be read."sv,
     .advice = "Look for the payload among the unreferenced clusters."sv,
     .spec = "Compressed cluster descriptor; D25"sv, .deep = false},
    {.code = 903, .name = "compressed/range-past-eof"sv,
     .severity = Severity::error, .lesser = Severity::warning, .reader = Reader::fail_read,
     .remedy = Remedy::set_sector_count, .reason = Reason::repairable, .consent = Consent::lossless,
     .title = "a compressed cluster's range reaches past the end of the file"sv,
     .explanation =
         "The range lies inside the file, except that the end of the file may cut its last sector. A "
         "longer range is wrong even if the stream decodes. QEMU's check notices only if a whole cluster "
         "is missing, then doesn't count the clusters that do exist, and its leak repair lowers refcounts "
         "that others need."sv,
     .consequence = "The guest cluster can't be read unless its stream ends before the end of the file."sv,
     .advice =
         "If the file was cut, get the missing part; otherwise let a repair shrink the range to what the "
         "stream needs."sv,
     .spec = "Compressed cluster descriptor"sv, .deep = false},
    {.code = 904, .name = "compressed/range-oversized"sv,
     .severity = Severity::warning, .lesser = Severity::warning, .reader = Reader::tolerate,
     .remedy = Remedy::none, .reason = Reason::n2_two_readings, .consent = Consent::none,
     .title = "a compressed cluster's range is longer than any payload needs"sv,
     .explanation =
         "A payload shorter than a cluster fits into as many sectors as a cluster has, plus one for its "
         "start. The field can express twice that and so touch three clusters. QEMU accepts it."sv,
     .consequence =
         "None for reading; the range claims clusters that it doesn't use, so they are counted wrongly."sv,
     .advice =
         "Check with --deep whether the payload decodes; copy the image with qemu-img convert if it does."sv,
     .spec = "Compressed cluster descriptor; D21"sv, .deep = false},
    {.code = 905, .name = "compressed/overlaps-metadata"sv,
     .severity = Severity::error, .lesser = Severity::error, .reader = Reader::fail_read,
     .remedy = Remedy::give_up_content, .reason = Reason::repairable, .consent = Consent::lossy,
     .title = "a compressed cluster's range lies in the image's own metadata"sv,
     .explanation =
         "No cluster in the range is owned as metadata, the header included. QEMU sees a wrong refcount "
         "at most, and its repair raises it, after which the image is called clean."sv,
     .consequence = "The guest cluster's payload is lost, or it was written over metadata."sv,
     .advice =
         "Look at the owners named here: one of the two is damaged. Look for the payload among the "
         "unreferenced clusters."sv,
     .spec = "Compressed cluster descriptor"sv, .deep = false},
    {.code = 906, .name = "compressed/overlaps-standard"sv,
     .severity = Severity::error, .lesser = Severity::error, .reader = Reader::refuse_write,
     .remedy = Remedy::copy_cluster, .reason = Reason::repairable, .consent = Consent::lossless,
     .title = "a compressed payload and an uncompressed cluster share a host cluster"sv,
     .explanation =
         "A cluster that holds compressed payloads holds nothing else. QEMU doesn't notice when the "
         "refcount agrees."sv,
     .consequence =
         "A write to the uncompressed cluster destroys the compressed data, if that hasn't happened yet."sv,
     .advice = "Check with --deep whether the payload decodes: it shows whose content is there."sv,
     .spec = "Compressed cluster descriptor"sv, .deep = false},
    {.code = 907, .name = "compressed/streams-overlap"sv,
     .severity = Severity::error, .lesser = Severity::warning, .reader = Reader::tolerate,
     .remedy = Remedy::copy_cluster, .reason = Reason::repairable, .consent = Consent::lossless,
     .title = "two compressed clusters overlap by more than the sector that neighbours may share"sv,
     .explanation =
         "Two different descriptors share at most the last sector of one and the first of the other; "
         "equal descriptors are the sharing of snapshots. After decoding, the payloads themselves must be "
         "disjoint. QEMU doesn't notice when the refcounts agree."sv,
     .consequence = "At least one of the two guest clusters is damaged if the payloads themselves overlap."sv,
     .advice = "Check with --deep to see which of the two decodes."sv,
     .spec = "Compressed cluster descriptor"sv, .deep = false},
    {.code = 908, .name = "compressed/undecodable"sv,
     .severity = Severity::error, .lesser = Severity::error, .reader = Reader::fail_read,
     .remedy = Remedy::none, .reason = Reason::n5_content_lost, .consent = Consent::none,
     .title = "a compressed cluster can't be decoded"sv,
     .explanation =
         "The payload decodes with the image's codec to one cluster. QEMU's check never looks; reading "
         "the cluster fails."sv,
     .consequence = "The guest cluster is lost; the guest gets an I/O error there."sv,
     .advice = "Restore the range from a backup; the guest range names what is concerned."sv,
     .spec = "Compressed clusters"sv, .deep = true},
    {.code = 909, .name = "compressed/short"sv,
     .severity = Severity::error, .lesser = Severity::error, .reader = Reader::fail_read,
     .remedy = Remedy::none, .reason = Reason::n5_content_lost, .consent = Consent::none,
     .title = "a compressed payload yields less than a cluster"sv,
     .explanation =
         "A payload yields a full cluster. Some readers fill up with zeros, which hides the damage. QEMU "
         "fails the read."sv,
     .consequence = "The guest cluster is at least partly lost; the guest gets an I/O error there."sv,
     .advice =
         "Restore the range from a backup; the first part of the cluster may be recovered from the "
         "payload."sv,
     .spec = "Compressed clusters"sv, .deep = true},
    {.code = 910, .name = "compressed/sector-count-low"sv,
     .severity = Severity::error, .lesser = Severity::error, .reader = Reader::fail_read,
     .remedy = Remedy::none, .reason = Reason::n7_not_yet, .consent = Consent::none,
     .title = "a compressed cluster's range ends before its payload does"sv,
     .explanation =
         "The payload decodes when some more sectors are read, so only the sector count is wrong. QEMU "
         "reads as many bytes as the descriptor says and fails."sv,
     .consequence = "The guest can't read the cluster, though its content is complete in the file."sv,
     .advice = "Copy the image: the copy's counts are right."sv,
     .spec = "Compressed cluster descriptor"sv, .deep = true},
    {.code = 911, .name = "compressed/overlong-deflate"sv,
     .severity = Severity::note, .lesser = Severity::note, .reader = Reader::tolerate,
     .remedy = Remedy::none, .reason = Reason::n3_legal, .consent = Consent::none,
     .title = "a deflate payload yields more than a cluster"sv,
     .explanation =
         "Decoding stops after one cluster, so a longer stream is legal and QEMU reads it. No known "
         "writer makes one; a damaged payload may look so."sv,
     .consequence = "None if the writer meant it; otherwise the cluster's content is damaged."sv,
     .advice = "Compare the cluster with a backup."sv,
     .spec = "Compressed clusters"sv, .deep = true},
    {.code = 912, .name = "compressed/overlong-zstd"sv,
     .severity = Severity::warning, .lesser = Severity::warning, .reader = Reader::tolerate,
     .remedy = Remedy::none, .reason = Reason::n7_not_yet, .consent = Consent::none,
     .title = "a zstd payload yields more than a cluster, which QEMU refuses"sv,
     .explanation = "By the format decoding stops after one cluster. QEMU rejects a frame that holds more."sv,
     .consequence = "The guest gets an I/O error for this cluster in QEMU, though its content is complete."sv,
     .advice = "Copy the image: in the copy the cluster is stored anew."sv,
     .spec = "Compressed clusters; D16"sv, .deep = true},
    {.code = 913, .name = "compressed/zlib-wrapper"sv,
     .severity = Severity::error, .lesser = Severity::error, .reader = Reader::fail_read,
     .remedy = Remedy::none, .reason = Reason::n2_two_readings, .consent = Consent::none,
     .title = "a compressed payload has a zlib header, where raw deflate belongs"sv,
     .explanation =
         "Deflate payloads are stored without the wrapper of zlib. Behind the header the payload may be "
         "sound. QEMU fails the read."sv,
     .consequence = "The guest can't read the cluster, though its content may be complete in the file."sv,
     .advice =
         "Report it to the writer of the image; the content can be recovered by decoding behind the "
         "wrapper."sv,
     .spec = "Compressed clusters"sv, .deep = true},
    {.code = 914, .name = "compressed/codec-mismatch"sv,
     .severity = Severity::error, .lesser = Severity::error, .reader = Reader::fail_read,
     .remedy = Remedy::none, .reason = Reason::n2_two_readings, .consent = Consent::none,
     .title = "a compressed payload belongs to the other codec"sv,
     .explanation =
         "The payload looks like zstd in a deflate image, or the reverse. The compression type of the "
         "header may be wrong. QEMU fails the read."sv,
     .consequence = "The guest can't read the cluster, though its content may be complete in the file."sv,
     .advice = "If all payloads are concerned, mend the compression type in a copy."sv,
     .spec = "Compressed clusters"sv, .deep = true},
    {.code = 915, .name = "compressed/zstd-checksum"sv,
     .severity = Severity::error, .lesser = Severity::error, .reader = Reader::fail_read,
     .remedy = Remedy::none, .reason = Reason::n5_content_lost, .consent = Consent::none,
     .title = "a zstd payload's checksum does not match its content"sv,
     .explanation =
         "A zstd frame may carry a checksum of its content. Several frames, skippable frames and frames "
         "without checksum or size are legal. QEMU fails the read."sv,
     .consequence = "The guest cluster is damaged; the guest gets an I/O error there."sv,
     .advice = "Restore the range from a backup; most of the cluster may be recovered from the payload."sv,
     .spec = "Compressed clusters"sv, .deep = true},
    {.code = 916, .name = "compressed/zstd-window"sv,
     .severity = Severity::warning, .lesser = Severity::warning, .reader = Reader::fail_read,
     .remedy = Remedy::none, .reason = Reason::n3_legal, .consent = Consent::none,
     .title = "a zstd payload demands a window of more than 128 MiB"sv,
     .explanation =
         "A decoder accepts windows up to 2^27 bytes by default and refuses larger ones, QEMU too. One "
         "cluster never needs that much."sv,
     .consequence = "The guest gets an I/O error for this cluster, though its content may be complete."sv,
     .advice = "Have the payload decoded with a larger window by a tool of your trust."sv,
     .spec = "Compressed clusters"sv, .deep = true},
    {.code = 917, .name = "compressed/in-data-file-image"sv,
     .severity = Severity::error, .lesser = Severity::error, .reader = Reader::fail_read,
     .remedy = Remedy::give_up_content, .reason = Reason::repairable, .consent = Consent::lossy,
     .title = "an image with an external data file has a compressed cluster"sv,
     .explanation =
         "Images with an external data file have no compressed clusters. QEMU's check reports it and "
         "doesn't count the range as owned; reading fails. The external data file bit may be wrong."sv,
     .consequence = "The guest cluster can't be read."sv,
     .advice = "Find out whether the image has a data file at all."sv,
     .spec = "Compressed cluster descriptor"sv, .deep = false},
    {.code = 918, .name = "compressed/in-encrypted-image"sv,
     .severity = Severity::warning, .lesser = Severity::warning, .reader = Reader::tolerate,
     .remedy = Remedy::none, .reason = Reason::n3_legal, .consent = Consent::none,
     .title = "an encrypted image has a compressed cluster, which is stored in plain text"sv,
     .explanation =
         "By the format all payload of an encrypted image is encrypted. QEMU reads compressed clusters "
         "without decrypting and refuses to make such images."sv,
     .consequence = "The cluster's content can be read without the key."sv,
     .advice =
         "Find out how the plain text came into the image; write the cluster anew to have it encrypted."sv,
     .spec = "Compressed clusters; D36"sv, .deep = false},
    {.code = 919, .name = "compressed/payload-hole"sv,
     .severity = Severity::error, .lesser = Severity::error, .reader = Reader::fail_read,
     .remedy = Remedy::none, .reason = Reason::n5_content_lost, .consent = Consent::none,
     .title = "a compressed cluster's payload is a hole in the file"sv,
     .explanation =
         "No codec has a payload of zeros only. A hole in its place is the typical trace of a leak repair "
         "that discarded a cluster in use. Reading fails in QEMU."sv,
     .consequence = "The guest cluster is lost; the guest gets an I/O error there."sv,
     .advice = "Restore the range from a backup."sv,
     .spec = "Compressed clusters"sv, .deep = false},
};
// clang-format on

}  // namespace cowvet::findings::rules
