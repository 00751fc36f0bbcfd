// Area 4, backing: the reference from this image to its backing file, as far as the image itself shows it.
// Whether the backing file exists, fits and is sound is a question to the chain.
#pragma once

#include <string_view>

#include "findings/row.hpp"

namespace cowvet::findings::rules {

using namespace std::string_view_literals;

// clang-format off: a row is laid out by hand so that it reads as one.
inline constexpr Rule backing[] = {
    {.code = 401, .name = "backing/offset-range"sv,
     .severity = Severity::fatal, .lesser = Severity::error, .reader = Reader::refuse_open,
     .remedy = Remedy::correct_header, .reason = Reason::repairable, .consent = Consent::choice,
     .title = "the backing file name lies outside its place in the first cluster"sv,
     .explanation =
         "The name lies behind the header extensions and before the end of the first cluster. QEMU "
         "refuses an offset beyond the cluster; one inside the header makes it ignore every extension "
         "silently, because the extension area then seems to be empty."sv,
     .consequence =
         "The name of the backing file is unknown or the header extensions are lost with it; data in the "
         "backing file can't be reached."sv,
     .advice = "Find the real name in the first cluster and mend the offset in a copy."sv,
     .spec = "Header: backing_file_offset; D32"sv, .deep = false},
    {.code = 402, .name = "backing/size-limit"sv,
     .severity = Severity::fatal, .lesser = Severity::fatal, .reader = Reader::refuse_open,
     .remedy = Remedy::correct_header, .reason = Reason::repairable, .consent = Consent::choice,
     .title = "the backing file name is longer than 1023 bytes"sv,
     .explanation =
         "The name has at most 1023 bytes. A shortened name would be the name of another file. QEMU "
         "refuses the image."sv,
     .consequence = "The backing file is unknown; clusters that this image doesn't hold can't be read."sv,
     .advice =
         "Record the right name, for instance with qemu-img rebase -u on a copy whose length field is "
         "mended."sv,
     .spec = "Header: backing_file_size"sv, .deep = false},
    {.code = 403, .name = "backing/crosses-first-cluster"sv,
     .severity = Severity::fatal, .lesser = Severity::fatal, .reader = Reader::refuse_open,
     .remedy = Remedy::correct_header, .reason = Reason::repairable, .consent = Consent::choice,
     .title = "the backing file name runs past the end of the first cluster"sv,
     .explanation =
         "Offset plus length of the name is at most the cluster size; ending exactly there is legal. QEMU "
         "refuses the image."sv,
     .consequence = "The backing file is unknown; clusters that this image doesn't hold can't be read."sv,
     .advice = "Find the real name in the first cluster and mend offset or length in a copy."sv,
     .spec = "Header: backing_file_size"sv, .deep = false},
    {.code = 404, .name = "backing/name-empty"sv,
     .severity = Severity::error, .lesser = Severity::error, .reader = Reader::refuse_write,
     .remedy = Remedy::none, .reason = Reason::n1_not_recorded, .consent = Consent::none,
     .title = "the image has a backing file name of zero bytes"sv,
     .explanation =
         "An offset says that there is a name, the length says that it is empty. QEMU treats the image as "
         "if it had no backing file. If the length was damaged, unallocated clusters read as zeros "
         "instead of the backing file's data."sv,
     .consequence = "Where this image holds no data the guest may see zeros instead of its files."sv,
     .advice = "Look at the bytes where the name should be; they may still name the backing file."sv,
     .spec = "Header: backing_file_size; D40"sv, .deep = false},
    {.code = 405, .name = "backing/name-nul"sv,
     .severity = Severity::error, .lesser = Severity::error, .reader = Reader::refuse_open,
     .remedy = Remedy::correct_header, .reason = Reason::repairable, .consent = Consent::choice,
     .title = "the backing file name contains a NUL byte"sv,
     .explanation =
         "The name is text of the stated length, without terminator. QEMU cuts it at the NUL and opens "
         "whatever file the shorter name denotes."sv,
     .consequence =
         "A wrong file may be taken for the backing file, and all data that isn't in this image comes "
         "from it."sv,
     .advice = "Record the right name, for instance with qemu-img rebase -u."sv,
     .spec = "Header: backing_file_offset"sv, .deep = false},
    {.code = 406, .name = "backing/name-text"sv,
     .severity = Severity::warning, .lesser = Severity::warning, .reader = Reader::tolerate,
     .remedy = Remedy::none, .reason = Reason::n2_two_readings, .consent = Consent::none,
     .title = "the backing file name is not clean text"sv,
     .explanation =
         "The name is expected to be UTF-8 without control characters. Files may have other names, so the "
         "exact bytes count; a program that prints them unchanged passes control characters to the "
         "terminal."sv,
     .consequence = "If a byte of the name was damaged, the backing file isn't found or is a wrong one."sv,
     .advice = "Compare the name with the name of the file that it should denote."sv,
     .spec = "Header: backing_file_offset"sv, .deep = false},
    {.code = 407, .name = "backing/size-without-offset"sv,
     .severity = Severity::note, .lesser = Severity::note, .reader = Reader::tolerate,
     .remedy = Remedy::none, .reason = Reason::n3_legal, .consent = Consent::none,
     .title = "a backing file name's length is left although there is no name"sv,
     .explanation =
         "Without an offset the length has no meaning. It is usually what remains of a removed backing "
         "file, but the offset may also have been lost."sv,
     .consequence =
         "If the offset was lost, unallocated clusters read as zeros instead of the backing file's data."sv,
     .advice = "Make sure that the image is meant to stand alone."sv,
     .spec = "Header: backing_file_size"sv, .deep = false},
    {.code = 408, .name = "backing/format-missing"sv,
     .severity = Severity::warning, .lesser = Severity::warning, .reader = Reader::refuse_open,
     .remedy = Remedy::none, .reason = Reason::n7_not_yet, .consent = Consent::none,
     .title = "the backing file's format is not recorded"sv,
     .explanation =
         "Without the format a reader has to guess it from the backing file's content. A guest that "
         "writes an image header to the start of a raw base then decides what the base is, and which "
         "other files it names. QEMU guesses silently."sv,
     .consequence =
         "A guest may gain access to files of the host, and a wrong guess shows the guest the wrong disk."sv,
     .advice =
         "Record the format that you know to be right, for instance with qemu-img rebase -u -F; never "
         "what was guessed from untrusted content."sv,
     .spec = "String header extensions"sv, .deep = false},
    {.code = 409, .name = "backing/format-unknown"sv,
     .severity = Severity::error, .lesser = Severity::error, .reader = Reader::refuse_open,
     .remedy = Remedy::none, .reason = Reason::n2_two_readings, .consent = Consent::none,
     .title = "the recorded backing format is not a known format"sv,
     .explanation =
         "The recorded format is the name of a driver. QEMU refuses to open the image with a name it "
         "doesn't know."sv,
     .consequence = "The image can't be opened with its backing file."sv,
     .advice = "Record the right format, for instance with qemu-img rebase -u -F."sv,
     .spec = "String header extensions"sv, .deep = false},
    {.code = 410, .name = "backing/format-not-a-format"sv,
     .severity = Severity::warning, .lesser = Severity::warning, .reader = Reader::refuse_open,
     .remedy = Remedy::none, .reason = Reason::n2_two_readings, .consent = Consent::none,
     .title = "the recorded backing format is a protocol or a filter, not an image format"sv,
     .explanation =
         "Names such as file, nbd or throttle denote how bytes are reached, not how an image is laid out. "
         "QEMU accepts them."sv,
     .consequence =
         "An untrusted image may reach files or servers through such a driver; the backing data may be "
         "read in the wrong format."sv,
     .advice = "Record the right format, for instance with qemu-img rebase -u -F."sv,
     .spec = "String header extensions"sv, .deep = false},
};
// clang-format on

}  // namespace cowvet::findings::rules
