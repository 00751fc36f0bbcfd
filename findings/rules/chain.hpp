// Area 17, chain: what is wrong, or has to be known, between images: backing files, and the overlays on them.
// The images themselves are judged by the other areas.
#pragma once

#include <string_view>

#include "findings/row.hpp"

namespace cowvet::findings::rules {

using namespace std::string_view_literals;

// clang-format off: a row is laid out by hand so that it reads as one.
inline constexpr Rule chain[] = {
    {.code = 1701, .name = "chain/loop"sv,
     .severity = Severity::fatal, .lesser = Severity::fatal, .reader = Reader::refuse_open,
     .remedy = Remedy::none, .reason = Reason::n6_elsewhere, .consent = Consent::none,
     .title = "the backing files lead back to an image that they started from"sv,
     .explanation =
         "Following backing names must end at an image without one. Files are told apart by what they are, "
         "so links and detours don't hide a circle. QEMU recurses until it runs out of files or memory."sv,
     .consequence =
         "No image of the circle can be opened, and none says where its data begins."sv,
     .advice =
         "Find out which of the images should have another backing file, and give it that one (cowvet rebase "
         "-u)."sv,
     .spec = "Header: backing_file_offset"sv, .deep = false},
    {.code = 1702, .name = "chain/depth"sv,
     .severity = Severity::warning, .lesser = Severity::warning, .reader = Reader::refuse_open,
     .remedy = Remedy::none, .reason = Reason::n6_elsewhere, .consent = Consent::none,
     .title = "the chain is deeper than the limit"sv,
     .explanation =
         "Each file below costs an open file and a look-up for what the files above don't hold. QEMU has no "
         "limit and opens them all, one inside the other."sv,
     .consequence =
         "Opening takes long, or fails for want of file descriptors or stack."sv,
     .advice =
         "Merge layers that nobody needs on their own."sv,
     .spec = "Header: backing_file_offset"sv, .deep = false},
    {.code = 1703, .name = "chain/missing"sv,
     .severity = Severity::error, .lesser = Severity::error, .reader = Reader::refuse_open,
     .remedy = Remedy::none, .reason = Reason::n6_elsewhere, .consent = Consent::none,
     .title = "the backing file does not exist"sv,
     .explanation =
         "What an overlay doesn't hold comes from its backing file. QEMU opens no image whose backing file "
         "is missing, not even for a check."sv,
     .consequence =
         "All data that is not in the overlay is unavailable."sv,
     .advice =
         "Find the file and put it back, or record its new name (cowvet rebase -u); never detach it: what is "
         "missing would turn into zeros."sv,
     .spec = "Header: backing_file_offset"sv, .deep = false},
    {.code = 1704, .name = "chain/unreadable"sv,
     .severity = Severity::error, .lesser = Severity::error, .reader = Reader::refuse_open,
     .remedy = Remedy::none, .reason = Reason::n6_elsewhere, .consent = Consent::none,
     .title = "the backing file can't be used"sv,
     .explanation =
         "The file is there, but it can't be opened or read, or its header makes no sense."sv,
     .consequence =
         "All data that is not in the overlay is unavailable."sv,
     .advice =
         "See why: give the rights to read it, copy it from a failing disk, or check it by itself."sv,
     .spec = "Header: backing_file_offset"sv, .deep = false},
    {.code = 1705, .name = "chain/format-mismatch"sv,
     .severity = Severity::error, .lesser = Severity::error, .reader = Reader::refuse_write,
     .remedy = Remedy::none, .reason = Reason::n2_two_readings, .consent = Consent::none,
     .title = "the recorded backing format is not what the backing file holds"sv,
     .explanation =
         "The overlay says how its backing file is to be read. Where that is raw and the content is a qcow2 "
         "image, the guest sees that image's metadata as its disk; QEMU does not notice. Other differences "
         "fail when it is opened."sv,
     .consequence =
         "The guest sees a wrong disk, or none."sv,
     .advice =
         "Find out which is right and record it (cowvet rebase -u -F)."sv,
     .spec = "Header: backing_file_offset"sv, .deep = false},
    {.code = 1706, .name = "chain/raw-base-looks-formatted"sv,
     .severity = Severity::warning, .lesser = Severity::warning, .reader = Reader::tolerate,
     .remedy = Remedy::none, .reason = Reason::n6_elsewhere, .consent = Consent::none,
     .title = "the raw backing file begins as an image of another format does"sv,
     .explanation =
         "The base is recorded as raw, and that is how it is read. Whoever drops the recorded format lets "
         "programs guess it from these bytes, which a guest may have written."sv,
     .consequence =
         "A guest may choose how the base is read, and which files of the host that opens."sv,
     .advice =
         "Keep the format recorded wherever the base is used."sv,
     .spec = "Header: backing_file_offset"sv, .deep = false},
    {.code = 1707, .name = "chain/size-smaller"sv,
     .severity = Severity::note, .lesser = Severity::note, .reader = Reader::tolerate,
     .remedy = Remedy::none, .reason = Reason::n3_legal, .consent = Consent::none,
     .title = "the backing file's disk is smaller than the overlay's"sv,
     .explanation =
         "What lies behind its end reads as zeros. That is how an overlay is grown; a base that shrank "
         "afterwards looks the same."sv,
     .consequence =
         "If the base was made smaller after the overlay, the disk's end is lost."sv,
     .advice =
         "Make sure that the base was not made smaller."sv,
     .spec = "Header: backing_file_offset"sv, .deep = false},
    {.code = 1708, .name = "chain/size-larger"sv,
     .severity = Severity::note, .lesser = Severity::note, .reader = Reader::tolerate,
     .remedy = Remedy::none, .reason = Reason::n3_legal, .consent = Consent::none,
     .title = "the backing file's disk is larger than the overlay's"sv,
     .explanation =
         "The base's end can't be seen through the overlay. It comes to light if the overlay is made larger "
         "by a program that doesn't hide it, and a commit has to decide what becomes of it."sv,
     .consequence =
         "Old content of the base may show up when the overlay grows."sv,
     .advice =
         "Make sure that the base was not made larger unintentionally."sv,
     .spec = "Header: backing_file_offset"sv, .deep = false},
    {.code = 1709, .name = "chain/newer-backing"sv,
     .severity = Severity::warning, .lesser = Severity::warning, .reader = Reader::tolerate,
     .remedy = Remedy::none, .reason = Reason::n6_elsewhere, .consent = Consent::none,
     .title = "the backing file was written after the overlay was made"sv,
     .explanation =
         "What the overlay doesn't hold it takes from its base as that is now. The time of the base's last "
         "change is compared with the time at which the overlay was made. A commit into the base, and "
         "changes of its snapshots or bitmaps, count as well and do no harm."sv,
     .consequence =
         "The guest may see a mixture of two states of the disk."sv,
     .advice =
         "Find out what wrote to the base: if it was used as a disk, only a copy from before that helps."sv,
     .spec = "Header: backing_file_offset"sv, .deep = false},
    {.code = 1710, .name = "chain/backing-dirty"sv,
     .severity = Severity::error, .lesser = Severity::warning, .reader = Reader::refuse_write,
     .remedy = Remedy::none, .reason = Reason::n6_elsewhere, .consent = Consent::none,
     .title = "an image that others stand on is marked as corrupt or dirty"sv,
     .explanation =
         "QEMU opens such an image below an overlay without a word, and repairs nothing there."sv,
     .consequence =
         "What the overlays take from it may be wrong."sv,
     .advice =
         "Check this image by itself and repair it first."sv,
     .spec = "Header: backing_file_offset"sv, .deep = false},
    {.code = 1711, .name = "chain/backing-shared-writer"sv,
     .severity = Severity::error, .lesser = Severity::error, .reader = Reader::refuse_write,
     .remedy = Remedy::none, .reason = Reason::n6_elsewhere, .consent = Consent::none,
     .title = "an image that others stand on is being written by another program"sv,
     .explanation =
         "An image below others must not change. QEMU's locks guard local files only, and only between "
         "programs that take them."sv,
     .consequence =
         "The disks of the overlays are damaged with every write."sv,
     .advice =
         "End that program, or find out whether it merges layers on purpose."sv,
     .spec = "Header: backing_file_offset"sv, .deep = false},
    {.code = 1712, .name = "chain/common-base"sv,
     .severity = Severity::note, .lesser = Severity::note, .reader = Reader::tolerate,
     .remedy = Remedy::none, .reason = Reason::n3_legal, .consent = Consent::none,
     .title = "several overlays stand on this image"sv,
     .explanation =
         "That is normal. The image must then not be removed, resized, written or committed into: all of its "
         "overlays show its content."sv,
     .consequence =
         "A change of the image changes all disks above it."sv,
     .advice =
         "Leave the image as it is while there are overlays."sv,
     .spec = "Header: backing_file_offset"sv, .deep = false},
    {.code = 1713, .name = "chain/relative-unresolvable"sv,
     .severity = Severity::error, .lesser = Severity::error, .reader = Reader::refuse_open,
     .remedy = Remedy::none, .reason = Reason::n6_elsewhere, .consent = Consent::none,
     .title = "the relative backing name has no folder to start from"sv,
     .explanation =
         "Relative names start where the image lies. An image that is put together from several files "
         "(quorum, blkverify) lies nowhere, and QEMU refuses to open it."sv,
     .consequence =
         "All data that is not in the overlay is unavailable."sv,
     .advice =
         "Record the backing file by its whole path (cowvet rebase -u)."sv,
     .spec = "Header: backing_file_offset"sv, .deep = false},
    {.code = 1714, .name = "chain/absolute-path"sv,
     .severity = Severity::warning, .lesser = Severity::warning, .reader = Reader::tolerate,
     .remedy = Remedy::none, .reason = Reason::n6_elsewhere, .consent = Consent::none,
     .title = "the backing file is named by an absolute path"sv,
     .explanation =
         "The chain breaks when its files are moved together, and an untrusted image may name any file of "
         "the host."sv,
     .consequence =
         "The guest may read a file of the host, or the chain may break when it moves."sv,
     .advice =
         "Where the files belong together, record a relative name (cowvet rebase -u)."sv,
     .spec = "Header: backing_file_offset"sv, .deep = false},
    {.code = 1715, .name = "chain/path-escape"sv,
     .severity = Severity::warning, .lesser = Severity::warning, .reader = Reader::refuse_open,
     .remedy = Remedy::none, .reason = Reason::n6_elsewhere, .consent = Consent::none,
     .title = "the backing name leaves the image's folder"sv,
     .explanation =
         "A relative name with \"..\", or a link, leads to another folder. An untrusted image may name any "
         "file of the host that way."sv,
     .consequence =
         "The guest may read a file of the host."sv,
     .advice =
         "Use the image only if you know why it names this file."sv,
     .spec = "Header: backing_file_offset"sv, .deep = false},
    {.code = 1716, .name = "chain/json-name"sv,
     .severity = Severity::warning, .lesser = Severity::warning, .reader = Reader::refuse_open,
     .remedy = Remedy::none, .reason = Reason::n6_elsewhere, .consent = Consent::none,
     .title = "the backing file is named by json:"sv,
     .explanation =
         "Such a name configures drivers of QEMU at will: files and devices of the host, network "
         "connections, several of them at once. QEMU does what it says when the image is opened, for a check "
         "too."sv,
     .consequence =
         "The guest may read files of the host, or have it connect elsewhere."sv,
     .advice =
         "Use the image only if you know what the name means; a plain file is better named by its path."sv,
     .spec = "Header: backing_file_offset"sv, .deep = false},
    {.code = 1717, .name = "chain/remote-name"sv,
     .severity = Severity::warning, .lesser = Severity::warning, .reader = Reader::refuse_open,
     .remedy = Remedy::none, .reason = Reason::n6_elsewhere, .consent = Consent::none,
     .title = "the backing file is named by a network protocol"sv,
     .explanation =
         "QEMU connects when the image is opened, for a check too. cowvet connects to nobody: what is there "
         "is not known."sv,
     .consequence =
         "Opening the image makes this host connect elsewhere; the guest sees what the other side sends."sv,
     .advice =
         "Use the image only if you know and trust the other side."sv,
     .spec = "Header: backing_file_offset"sv, .deep = false},
    {.code = 1718, .name = "chain/colon-ambiguity"sv,
     .severity = Severity::warning, .lesser = Severity::warning, .reader = Reader::tolerate,
     .remedy = Remedy::none, .reason = Reason::n2_two_readings, .consent = Consent::none,
     .title = "the backing name's beginning is taken for a protocol"sv,
     .explanation =
         "Text before a colon is a protocol's name unless a slash comes first. QEMU looks for the protocol, "
         "even where a file has the name."sv,
     .consequence =
         "The backing file is not found, or another one is opened than was meant."sv,
     .advice =
         "Record the name with ./ in front (cowvet rebase -u)."sv,
     .spec = "Header: backing_file_offset"sv, .deep = false},
    {.code = 1719, .name = "chain/special-file"sv,
     .severity = Severity::warning, .lesser = Severity::warning, .reader = Reader::refuse_open,
     .remedy = Remedy::none, .reason = Reason::n6_elsewhere, .consent = Consent::none,
     .title = "the backing name does not lead to a regular file"sv,
     .explanation =
         "Block devices are used as bases, and a name such as /dev/sda in an untrusted image gives the guest "
         "the host's disk. Folders (\"fat:\"), pipes, sockets and character devices are no images."sv,
     .consequence =
         "The guest may read a device or folder of the host."sv,
     .advice =
         "Use the image only if you know why it names this."sv,
     .spec = "Header: backing_file_offset"sv, .deep = false},
    {.code = 1720, .name = "chain/bitmap-base"sv,
     .severity = Severity::note, .lesser = Severity::note, .reader = Reader::tolerate,
     .remedy = Remedy::none, .reason = Reason::n3_legal, .consent = Consent::none,
     .title = "an image that others stand on has bitmaps"sv,
     .explanation =
         "They say what changed in this image only, before the overlay was made. An incremental backup needs "
         "the bitmap of each layer since."sv,
     .consequence =
         "A backup made by the overlay's bitmap alone lacks what changed before."sv,
     .advice =
         "Merge the layers' bitmaps for a backup (cowvet bitmap --merge)."sv,
     .spec = "Header: backing_file_offset"sv, .deep = false},
    {.code = 1721, .name = "chain/data-file-node"sv,
     .severity = Severity::note, .lesser = Severity::note, .reader = Reader::tolerate,
     .remedy = Remedy::none, .reason = Reason::n3_legal, .consent = Consent::none,
     .title = "the image keeps its data in another file"sv,
     .explanation =
         "Both files belong together: each is useless or misleading without the other."sv,
     .consequence =
         "If only one of them is copied, the disk is lost."sv,
     .advice =
         "Copy, move and check both files together."sv,
     .spec = "Header: backing_file_offset"sv, .deep = false},
    {.code = 1722, .name = "chain/snapshot-in-base"sv,
     .severity = Severity::note, .lesser = Severity::note, .reader = Reader::tolerate,
     .remedy = Remedy::none, .reason = Reason::n3_legal, .consent = Consent::none,
     .title = "an image that others stand on has internal snapshots"sv,
     .explanation =
         "They can't be reached through the overlays. Going back to one of them changes the base, and so all "
         "overlays."sv,
     .consequence =
         "The snapshots may be forgotten; applying one damages the overlays."sv,
     .advice =
         "Copy a snapshot out to use it (cowvet convert -l)."sv,
     .spec = "Header: backing_file_offset"sv, .deep = false},
    {.code = 1723, .name = "chain/encrypted-mix"sv,
     .severity = Severity::note, .lesser = Severity::note, .reader = Reader::tolerate,
     .remedy = Remedy::none, .reason = Reason::n3_legal, .consent = Consent::none,
     .title = "only one of overlay and base is encrypted"sv,
     .explanation =
         "Encryption is a property of each file: what the guest writes is encrypted in an encrypted overlay "
         "only, and what lies in the base stays as it is there."sv,
     .consequence =
         "A part of the disk's content is in the clear."sv,
     .advice =
         "If all of it has to be encrypted, convert the chain into one encrypted image."sv,
     .spec = "Header: backing_file_offset"sv, .deep = false},
};
// clang-format on

}  // namespace cowvet::findings::rules
