// Area 16, file: the file as a container: where it ends, what lies behind its last structure, what in it
// belongs to nobody, and whether it could be read at all. A structure of which only a part is in the file is
// reported by the structure's own rule; the rules here speak of the file as a whole.
#pragma once

#include <string_view>

#include "findings/row.hpp"

namespace cowvet::findings::rules {

using namespace std::string_view_literals;

// clang-format off: a row is laid out by hand so that it reads as one.
inline constexpr Rule file[] = {
    {.code = 1601, .name = "file/truncated"sv,
     .severity = Severity::error, .lesser = Severity::error, .reader = Reader::fail_read,
     .remedy = Remedy::none, .reason = Reason::n5_content_lost, .consent = Consent::none,
     .title = "the file is shorter than its structures say: it was cut off"sv,
     .explanation =
         "No cluster that something refers to lies past the end of the file. Several that do, or "
         "refcounts there, mean that a copy or a transfer was incomplete. The finding states the length "
         "that is needed. QEMU reads zeros for what is missing, and its repair doesn't bring it back."sv,
     .consequence =
         "Everything past the end is lost from this copy of the file; the findings name the guest ranges."sv,
     .advice = "Get the file again from its source; don't extend it and don't run any repair on it."sv,
     .spec = "Host cluster management; D34"sv, .deep = false},
    {.code = 1602, .name = "file/last-cluster-partial"sv,
     .severity = Severity::warning, .lesser = Severity::note, .reader = Reader::tolerate,
     .remedy = Remedy::none, .reason = Reason::n7_not_yet, .consent = Consent::none,
     .title = "the last data cluster is cut off by the end of the file"sv,
     .explanation =
         "That is normal when the missing part lies behind the end of the disk, in unallocated "
         "subclusters, or behind a compressed payload. Elsewhere the missing bytes read as zeros, as QEMU "
         "has them too."sv,
     .consequence = "If the file was cut, the guest sees zeros instead of its last bytes."sv,
     .advice =
         "Compare the file's length with its source; have the file extended if a stricter program "
         "complains."sv,
     .spec = "Host cluster management"sv, .deep = false},
    {.code = 1603, .name = "file/tail-unreferenced"sv,
     .severity = Severity::note, .lesser = Severity::note, .reader = Reader::tolerate,
     .remedy = Remedy::truncate_file, .reason = Reason::repairable, .consent = Consent::frees,
     .title = "the file goes on behind the last cluster in use"sv,
     .explanation =
         "Clusters at the end that nothing refers to and that count as free will be used again; they are "
         "left when snapshots or data are deleted. An absurdly long tail shows that a repair by QEMU "
         "followed a wild refcount pointer. QEMU neither reports nor cuts such a tail."sv,
     .consequence = "None; the file may be longer than it needs to be."sv,
     .advice = "Have the file truncated if its length matters."sv,
     .spec = "Host cluster management"sv, .deep = false},
    {.code = 1604, .name = "file/tail-data"sv,
     .severity = Severity::note, .lesser = Severity::note, .reader = Reader::tolerate,
     .remedy = Remedy::none, .reason = Reason::n4_would_discard, .consent = Consent::none,
     .title = "the unused end of the file is not zero"sv,
     .explanation =
         "It holds deleted data, remains of a cut, appended data or another container. A check looks at the "
         "first mebibyte of the unused end, with --deep at all of it."sv,
     .consequence = "Whoever gets the file gets these bytes too."sv,
     .advice = "Look at the bytes before the file is truncated or passed on."sv,
     .spec = "Host cluster management"sv, .deep = false},
    {.code = 1605, .name = "file/unreferenced-content"sv,
     .severity = Severity::note, .lesser = Severity::note, .reader = Reader::tolerate,
     .remedy = Remedy::none, .reason = Reason::n4_would_discard, .consent = Consent::none,
     .title = "free clusters inside the file are not zero"sv,
     .explanation = "They hold deleted data or lost metadata. The finding says what they look like."sv,
     .consequence =
         "Whoever gets the file gets these bytes too; if data is missing from the disk, it may be here."sv,
     .advice =
         "Copy the image with qemu-img convert before it is passed on; keep it as it is if data is "
         "missing."sv,
     .spec = "Host cluster management"sv, .deep = true},
    {.code = 1606, .name = "file/metadata-hole"sv,
     .severity = Severity::warning, .lesser = Severity::warning, .reader = Reader::tolerate,
     .remedy = Remedy::none, .reason = Reason::n5_content_lost, .consent = Consent::none,
     .title = "a table is a hole in the file"sv,
     .explanation =
         "Tables are written, so they are not holes in a sparse file. A hole reads as zeros: an L2 table "
         "without entries, or a refcount block whose clusters are all free. It is the trace of a "
         "discarded cluster, or of a copy that turned zeros into holes."sv,
     .consequence =
         "If the cluster was discarded while in use, the guest range behind the table reads as "
         "unallocated."sv,
     .advice = "Compare the guest range with a backup."sv,
     .spec = "Host cluster management"sv, .deep = false},
    {.code = 1607, .name = "file/prefix"sv,
     .severity = Severity::fatal, .lesser = Severity::fatal, .reader = Reader::refuse_open,
     .remedy = Remedy::none, .reason = Reason::n1_not_recorded, .consent = Consent::none,
     .title = "the image begins later in the file than at its first byte"sv,
     .explanation =
         "Offset 0 of the image is offset 0 of the file. Here the magic was found behind other bytes, so "
         "the file has a prefix or is another container around the image. QEMU doesn't recognise it."sv,
     .consequence = "Programs that guess the format treat the whole container as a raw disk."sv,
     .advice = "Copy the image out from the offset that the finding states."sv,
     .spec = "Header"sv, .deep = false},
    {.code = 1608, .name = "file/changed-during-check"sv,
     .severity = Severity::warning, .lesser = Severity::warning, .reader = Reader::refuse_write,
     .remedy = Remedy::none, .reason = Reason::n6_elsewhere, .consent = Consent::none,
     .title = "the file changed while it was checked"sv,
     .explanation =
         "Size and modification time were not the same before and after the check, so what was read may "
         "come from different states."sv,
     .consequence = "None by itself, but the findings can't be relied on."sv,
     .advice = "Check again when nothing writes to the image; never repair an image in use."sv,
     .spec = "Host cluster management"sv, .deep = false},
    {.code = 1609, .name = "file/in-use"sv,
     .severity = Severity::warning, .lesser = Severity::warning, .reader = Reader::refuse_write,
     .remedy = Remedy::none, .reason = Reason::n6_elsewhere, .consent = Consent::none,
     .title = "another program has the image open"sv,
     .explanation =
         "A virtual machine or a tool holds QEMU's lock on the file. If it writes, metadata that it holds "
         "in memory is not in the file yet, so the check may see leaks and stale refcounts that don't "
         "exist for the program."sv,
     .consequence = "None by itself; a repair while the image is in use destroys data."sv,
     .advice = "Check again when the virtual machine is off; never repair an image in use."sv,
     .spec = "Host cluster management"sv, .deep = false},
    {.code = 1610, .name = "file/io-error"sv,
     .severity = Severity::error, .lesser = Severity::error, .reader = Reader::fail_read,
     .remedy = Remedy::none, .reason = Reason::n6_elsewhere, .consent = Consent::none,
     .title = "the device returned an error for a part of the file"sv,
     .explanation =
         "What couldn't be read couldn't be checked, and is never taken for zeros. The structures in the "
         "range are unknown, so leaks can't be told from data."sv,
     .consequence = "What is stored in the range is lost unless the device recovers."sv,
     .advice = "Copy the file with a tool that retries and logs errors, then check the copy."sv,
     .spec = "Host cluster management"sv, .deep = false},
};
// clang-format on

}  // namespace cowvet::findings::rules
