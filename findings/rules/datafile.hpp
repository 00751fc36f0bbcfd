// Area 14, datafile: images whose guest data lives in an external data file, at the host offset that equals
// the guest offset. The metadata of such an image can be checked without the data file; rules that compare
// the two need it.
#pragma once

#include <string_view>

#include "findings/row.hpp"

namespace cowvet::findings::rules {

using namespace std::string_view_literals;

// clang-format off: a row is laid out by hand so that it reads as one.
inline constexpr Rule datafile[] = {
    {.code = 1401, .name = "datafile/name-missing"sv,
     .severity = Severity::error, .lesser = Severity::error, .reader = Reader::refuse_open,
     .remedy = Remedy::none, .reason = Reason::n1_not_recorded, .consent = Consent::none,
     .title = "the external data file's name is not recorded"sv,
     .explanation =
         "With incompatible bit 2 the name is in a header extension, or is given by whoever opens the "
         "image. QEMU's info works without it, input and output don't."sv,
     .consequence = "The guest's data can't be reached through this image alone."sv,
     .advice = "Name the data file when the image is opened, or record its name in a copy."sv,
     .spec = "String header extensions"sv, .deep = false},
    {.code = 1402, .name = "datafile/missing"sv,
     .severity = Severity::error, .lesser = Severity::error, .reader = Reader::refuse_open,
     .remedy = Remedy::none, .reason = Reason::n6_elsewhere, .consent = Consent::none,
     .title = "the external data file can't be opened"sv,
     .explanation = "All guest data is in the data file. QEMU can't even check the image without it."sv,
     .consequence = "The guest's data can't be reached."sv,
     .advice = "Put the data file back where the image expects it, or name its new place."sv,
     .spec = "Header: incompatible_features"sv, .deep = false},
    {.code = 1403, .name = "datafile/name-resolution"sv,
     .severity = Severity::note, .lesser = Severity::note, .reader = Reader::tolerate,
     .remedy = Remedy::none, .reason = Reason::n2_two_readings, .consent = Consent::none,
     .title = "the external data file's name is relative to an unspecified directory"sv,
     .explanation =
         "The format doesn't say to which directory a relative name belongs. QEMU takes the working "
         "directory of its process, and for backing files that of the image."sv,
     .consequence =
         "A wrong file of the same name may be read and written, depending on where the program was "
         "started."sv,
     .advice = "Use an absolute name, or start programs from the data file's directory only."sv,
     .spec = "String header extensions"sv, .deep = false},
    {.code = 1404, .name = "datafile/name-literal"sv,
     .severity = Severity::warning, .lesser = Severity::warning, .reader = Reader::refuse_open,
     .remedy = Remedy::none, .reason = Reason::n2_two_readings, .consent = Consent::none,
     .title = "the external data file's name looks like a protocol or a JSON description"sv,
     .explanation =
         "The name is a plain path. Recent versions of QEMU take it literally, older ones may have "
         "followed it elsewhere."sv,
     .consequence =
         "Depending on the version, another file or server is opened than the name seems to say."sv,
     .advice = "Don't open an untrusted image with such a name."sv,
     .spec = "String header extensions"sv, .deep = false},
    {.code = 1405, .name = "datafile/is-self"sv,
     .severity = Severity::error, .lesser = Severity::error, .reader = Reader::refuse_open,
     .remedy = Remedy::none, .reason = Reason::n6_elsewhere, .consent = Consent::none,
     .title = "the external data file is this image itself"sv,
     .explanation = "The data file is neither the image nor one of its backing files. QEMU doesn't notice."sv,
     .consequence = "Writes by the guest overwrite the image's metadata."sv,
     .advice = "Don't start a virtual machine on this image; find the real data file."sv,
     .spec = "Header: incompatible_features"sv, .deep = false},
    {.code = 1406, .name = "datafile/host-offset"sv,
     .severity = Severity::error, .lesser = Severity::error, .reader = Reader::fail_read,
     .remedy = Remedy::set_guest_offset, .reason = Reason::repairable, .consent = Consent::choice,
     .title = "a cluster's place in the external data file is not its guest offset"sv,
     .explanation =
         "In an image with an external data file every host offset equals the guest offset. QEMU's check "
         "ignores it, reading fails."sv,
     .consequence = "The guest cluster can't be read with QEMU, or shows the data of another place."sv,
     .advice = "Compare both places in the data file with what should be there."sv,
     .spec = "Standard cluster descriptor; D15"sv, .deep = false},
    {.code = 1407, .name = "datafile/copied"sv,
     .severity = Severity::error, .lesser = Severity::error, .reader = Reader::fail_read,
     .remedy = Remedy::set_copied, .reason = Reason::repairable, .consent = Consent::lossless,
     .title = "an allocated cluster of an external data file lacks the COPIED bit"sv,
     .explanation =
         "Every allocated entry has the bit, since at guest offset 0 it alone tells data from "
         "unallocated. QEMU's check repairs entries with another offset; at offset 0 it reads zeros or "
         "the backing file's data silently."sv,
     .consequence =
         "At guest offset 0 the guest may see zeros instead of its boot sector; elsewhere writes may be "
         "refused."sv,
     .advice = "Let a repair set the bit where the offset is the guest offset."sv,
     .spec = "Standard cluster descriptor"sv, .deep = false},
    {.code = 1408, .name = "datafile/raw-unallocated"sv,
     .severity = Severity::error, .lesser = Severity::error, .reader = Reader::refuse_write,
     .remedy = Remedy::none, .reason = Reason::n2_two_readings, .consent = Consent::none,
     .title = "the raw external data file holds data where the image says unallocated"sv,
     .explanation =
         "With autoclear bit 1 the data file alone shows the whole disk, so the data file holds zeros "
         "wherever nothing is allocated. QEMU doesn't notice."sv,
     .consequence = "The guest sees another content than a program that reads the data file directly."sv,
     .advice = "Decide which view is right before anything writes to either."sv,
     .spec = "Header: autoclear_features"sv, .deep = true},
    {.code = 1409, .name = "datafile/raw-zero"sv,
     .severity = Severity::error, .lesser = Severity::error, .reader = Reader::refuse_write,
     .remedy = Remedy::none, .reason = Reason::n2_two_readings, .consent = Consent::none,
     .title = "the raw external data file holds data where the image reads as zeros"sv,
     .explanation =
         "With autoclear bit 1 the data file alone shows the whole disk, so clusters that read as zeros "
         "are zeros there too. QEMU doesn't notice."sv,
     .consequence = "The guest sees another content than a program that reads the data file directly."sv,
     .advice = "Decide which view is right before anything writes to either."sv,
     .spec = "Header: autoclear_features"sv, .deep = true},
    {.code = 1410, .name = "datafile/raw-size"sv,
     .severity = Severity::warning, .lesser = Severity::warning, .reader = Reader::tolerate,
     .remedy = Remedy::none, .reason = Reason::n2_two_readings, .consent = Consent::none,
     .title = "the raw external data file's length differs from the virtual disk size"sv,
     .explanation =
         "With autoclear bit 1 the data file alone shows the whole disk, so both have the same size. QEMU "
         "doesn't notice."sv,
     .consequence = "A program that reads the data file directly sees a shorter or longer disk."sv,
     .advice = "Find out which size is right; don't truncate the data file."sv,
     .spec = "Header: autoclear_features"sv, .deep = false},
    {.code = 1411, .name = "datafile/too-short"sv,
     .severity = Severity::error, .lesser = Severity::error, .reader = Reader::fail_read,
     .remedy = Remedy::none, .reason = Reason::n5_content_lost, .consent = Consent::none,
     .title = "an allocated cluster lies past the end of the external data file"sv,
     .explanation =
         "Allocated clusters lie inside the data file. QEMU reads zeros for what is missing, silently."sv,
     .consequence = "The guest sees zeros instead of its data."sv,
     .advice = "If the data file was cut, get the missing part."sv,
     .spec = "Cluster mapping"sv, .deep = false},
    {.code = 1412, .name = "datafile/too-long"sv,
     .severity = Severity::note, .lesser = Severity::note, .reader = Reader::tolerate,
     .remedy = Remedy::none, .reason = Reason::n3_legal, .consent = Consent::none,
     .title = "the external data file is longer than the virtual disk"sv,
     .explanation =
         "Bytes behind the end of the disk are not visible through the image. They may be left from a "
         "larger disk, or the size field may be damaged."sv,
     .consequence = "If the size field was damaged, the end of the disk is invisible to the guest."sv,
     .advice = "Make sure that the virtual disk size is right."sv,
     .spec = "Cluster mapping"sv, .deep = false},
};
// clang-format on

}  // namespace cowvet::findings::rules
