// Area 8, extl2: what only extended L2 entries can get wrong: the second word, which says for each of the 32
// subclusters whether it is allocated, reads as zeros, or comes from the backing file.
#pragma once

#include <string_view>

#include "findings/row.hpp"

namespace cowvet::findings::rules {

using namespace std::string_view_literals;

// clang-format off: a row is laid out by hand so that it reads as one.
inline constexpr Rule extl2[] = {
    {.code = 801, .name = "extl2/zero-flag"sv,
     .severity = Severity::error, .lesser = Severity::error, .reader = Reader::refuse_write,
     .remedy = Remedy::clear_reserved_bits, .reason = Reason::repairable, .consent = Consent::choice,
     .title = "an extended L2 entry has the zero flag of standard entries set"sv,
     .explanation =
         "Bit 0 of the first word is zero, since the second word says which subclusters read as zeros. "
         "QEMU ignores the bit, in its check too. The same entry read without the extended L2 feature "
         "would read as zeros, so the feature bit may be wrong."sv,
     .consequence = "If the feature bit is wrong, the whole table is misread."sv,
     .advice = "Compare the data with what should be there before anything writes to the image."sv,
     .spec = "Extended L2 entries; D12"sv, .deep = false},
    {.code = 802, .name = "extl2/alloc-and-zero"sv,
     .severity = Severity::error, .lesser = Severity::error, .reader = Reader::fail_read,
     .remedy = Remedy::choose_subclusters, .reason = Reason::repairable, .consent = Consent::choice,
     .title = "a subcluster is marked both as allocated and as reading as zeros"sv,
     .explanation =
         "Each subcluster is one of the two at most. QEMU fails every read of the cluster and has no "
         "repair."sv,
     .consequence =
         "The whole guest cluster can't be read with QEMU; whether the subcluster holds data or zeros "
         "isn't recorded."sv,
     .advice = "Compare both readings with what should be there, and choose for each subcluster."sv,
     .spec = "Subcluster allocation bitmap"sv, .deep = false},
    {.code = 803, .name = "extl2/alloc-without-offset"sv,
     .severity = Severity::error, .lesser = Severity::error, .reader = Reader::fail_read,
     .remedy = Remedy::reattach_cluster, .reason = Reason::repairable, .consent = Consent::choice,
     .title = "an extended L2 entry has allocated subclusters but no offset"sv,
     .explanation =
         "Allocated subclusters lie in the cluster that the first word names. With offset 0 the cluster "
         "was lost. QEMU's repair frees the orphaned data cluster as a leak."sv,
     .consequence = "The guest's data in these subclusters can't be reached; it looks like leaked space."sv,
     .advice = "Look for the data among the unreferenced clusters; don't free leaks."sv,
     .spec = "Subcluster allocation bitmap"sv, .deep = false},
    {.code = 804, .name = "extl2/compressed-bitmap"sv,
     .severity = Severity::error, .lesser = Severity::error, .reader = Reader::refuse_write,
     .remedy = Remedy::clear_subcluster_bitmap, .reason = Reason::repairable, .consent = Consent::lossless,
     .title = "a compressed cluster has a subcluster bitmap"sv,
     .explanation =
         "Compressed clusters have no subclusters, so the second word is zero. QEMU's check reports it, "
         "doesn't count the compressed data as owned, and its leak repair then frees the data."sv,
     .consequence = "The data can be read, but a leak repair by QEMU destroys it."sv,
     .advice = "Don't run QEMU's repair; have the second word cleared if the payload decodes."sv,
     .spec = "Subcluster allocation bitmap"sv, .deep = false},
    {.code = 805, .name = "extl2/unaligned-without-data"sv,
     .severity = Severity::error, .lesser = Severity::error, .reader = Reader::refuse_write,
     .remedy = Remedy::bare_zero_entry, .reason = Reason::repairable, .consent = Consent::lossless,
     .title = "an extended L2 entry without data has an offset that is not cluster aligned"sv,
     .explanation =
         "No subcluster is allocated, so nothing is read from the offset and it can be dropped; QEMU's "
         "repair does that."sv,
     .consequence =
         "None for the content; a write to the guest cluster fails or marks the image as corrupt."sv,
     .advice = "Let a repair replace the entry's first word."sv,
     .spec = "Extended L2 entries"sv, .deep = false},
    {.code = 806, .name = "extl2/unaligned-with-data"sv,
     .severity = Severity::error, .lesser = Severity::error, .reader = Reader::fail_read,
     .remedy = Remedy::reattach_cluster, .reason = Reason::repairable, .consent = Consent::choice,
     .title = "an extended L2 entry with data has an offset that is not cluster aligned"sv,
     .explanation =
         "Data clusters begin at cluster boundaries. Rounding the offset would pick a neighbour's data. "
         "QEMU reports it and has no repair."sv,
     .consequence = "The guest's data in the allocated subclusters can't be read."sv,
     .advice = "Look for the data among the unreferenced clusters."sv,
     .spec = "Extended L2 entries"sv, .deep = false},
    {.code = 807, .name = "extl2/subcluster-past-eof"sv,
     .severity = Severity::error, .lesser = Severity::error, .reader = Reader::fail_read,
     .remedy = Remedy::give_up_content, .reason = Reason::repairable, .consent = Consent::lossy,
     .title = "an allocated subcluster lies past the end of the file"sv,
     .explanation =
         "Allocated subclusters lie inside the file; the others need no bytes there. QEMU compares whole "
         "clusters only and reads zeros for what is missing."sv,
     .consequence = "The guest sees zeros instead of its data."sv,
     .advice = "If the file was cut, get the missing part."sv,
     .spec = "Subcluster allocation bitmap; D34"sv, .deep = false},
};
// clang-format on

}  // namespace cowvet::findings::rules
