// Area 3, ext: the list of header extensions between the header and the backing file name, and the records
// whose fault concerns the record itself. What a well-formed record says about backing files, bitmaps,
// encryption or a data file is judged in those areas.
#pragma once

#include <string_view>

#include "findings/row.hpp"

namespace cowvet::findings::rules {

using namespace std::string_view_literals;

// clang-format off: a row is laid out by hand so that it reads as one.
inline constexpr Rule ext[] = {
    {.code = 301, .name = "ext/area-overrun"sv,
     .severity = Severity::fatal, .lesser = Severity::fatal, .reader = Reader::refuse_open,
     .remedy = Remedy::correct_extension, .reason = Reason::repairable, .consent = Consent::choice,
     .title = "a header extension runs past the end of the extension area"sv,
     .explanation =
         "Every record lies between the end of the header and the backing file name, or the end of the "
         "first cluster if there is no name. A record that claims more bytes shows that its length or one "
         "of the positions is damaged. QEMU refuses the image."sv,
     .consequence =
         "Extensions from here on can't be found, among them possibly the encryption header or the data "
         "file's name."sv,
     .advice = "Compare the length with what the record seems to hold, and mend it in a copy."sv,
     .spec = "Header extensions"sv, .deep = false},
    {.code = 302, .name = "ext/end-record-missing"sv,
     .severity = Severity::warning, .lesser = Severity::warning, .reader = Reader::tolerate,
     .remedy = Remedy::none, .reason = Reason::n2_two_readings, .consent = Consent::none,
     .title = "the list of header extensions has no end record"sv,
     .explanation =
         "A record of type 0 ends the list; without it the list ends where the area ends. QEMU accepts "
         "that silently, and so does this check."sv,
     .consequence = "A stricter program may refuse the image; an extension may have been overwritten."sv,
     .advice = "Compare the extensions shown with what the image should have."sv,
     .spec = "Header extensions; D4"sv, .deep = false},
    {.code = 303, .name = "ext/end-record-length"sv,
     .severity = Severity::warning, .lesser = Severity::warning, .reader = Reader::tolerate,
     .remedy = Remedy::none, .reason = Reason::n3_legal, .consent = Consent::none,
     .title = "the end record of the header extensions has a length"sv,
     .explanation =
         "The record that ends the list carries no data, so its length is 0. QEMU ignores a small length "
         "and refuses the image when the length exceeds the area."sv,
     .consequence =
         "None for the data; the list's end may be a record whose type was overwritten with zeros."sv,
     .advice = "Look at the bytes behind the end record: they may be an extension that is no longer read."sv,
     .spec = "Header extensions"sv, .deep = false},
    {.code = 304, .name = "ext/duplicate"sv,
     .severity = Severity::error, .lesser = Severity::error, .reader = Reader::refuse_write,
     .remedy = Remedy::none, .reason = Reason::n2_two_readings, .consent = Consent::none,
     .title = "a header extension type occurs twice"sv,
     .explanation =
         "Each type occurs at most once. QEMU takes the last one of a type it knows and keeps all unknown "
         "ones; another program may take the first."sv,
     .consequence =
         "Two programs may use different backing formats, data files or encryption headers for the same "
         "image."sv,
     .advice = "Find out which of the copies is right and remove the other one in a copy of the image."sv,
     .spec = "Header extensions; D3"sv, .deep = false},
    {.code = 305, .name = "ext/unknown"sv,
     .severity = Severity::note, .lesser = Severity::note, .reader = Reader::tolerate,
     .remedy = Remedy::correct_extension, .reason = Reason::repairable, .consent = Consent::choice,
     .title = "the image has a header extension of an unknown type"sv,
     .explanation =
         "Unknown extensions are ignored and kept; QEMU does so. They may own clusters that look leaked."sv,
     .consequence = "None, unless leaked clusters are freed: they may belong to the extension."sv,
     .advice = "Find out which program uses the extension before leaks are freed."sv,
     .spec = "Header extensions"sv, .deep = false},
    {.code = 306, .name = "ext/padding-nonzero"sv,
     .severity = Severity::note, .lesser = Severity::note, .reader = Reader::tolerate,
     .remedy = Remedy::none, .reason = Reason::n3_legal, .consent = Consent::none,
     .title = "the padding behind a header extension's data is not zero"sv,
     .explanation =
         "Data is padded to a multiple of 8 bytes and nothing relies on what the padding holds. Writers "
         "store zeros there."sv,
     .consequence = "None; the bytes may be a remnant or hidden data."sv,
     .advice = "Nothing to do."sv,
     .spec = "Header extensions"sv, .deep = false},
    {.code = 307, .name = "ext/backing-format-length"sv,
     .severity = Severity::fatal, .lesser = Severity::warning, .reader = Reader::refuse_open,
     .remedy = Remedy::none, .reason = Reason::n1_not_recorded, .consent = Consent::none,
     .title = "the backing format name is empty or longer than 15 bytes"sv,
     .explanation =
         "The recorded format is the name of a driver of 1 to 15 bytes without NUL. QEMU refuses a longer "
         "one and silently ignores an empty one, after which it guesses the backing file's format from "
         "its content."sv,
     .consequence =
         "The backing file's format isn't known, so data outside this image may be read in the wrong "
         "format or not at all."sv,
     .advice = "Record the right format, for instance with qemu-img rebase -u -F."sv,
     .spec = "String header extensions"sv, .deep = false},
    {.code = 308, .name = "ext/backing-format-without-name"sv,
     .severity = Severity::note, .lesser = Severity::note, .reader = Reader::tolerate,
     .remedy = Remedy::none, .reason = Reason::n3_legal, .consent = Consent::none,
     .title = "a backing format is recorded, but there is no backing file"sv,
     .explanation =
         "The extension has no effect without a backing file name. It may be left over, or the name may "
         "have been lost."sv,
     .consequence =
         "If the name was lost, unallocated clusters read as zeros instead of the backing file's data."sv,
     .advice = "Make sure that the image is meant to stand alone."sv,
     .spec = "String header extensions"sv, .deep = false},
    {.code = 309, .name = "ext/feature-table-length"sv,
     .severity = Severity::warning, .lesser = Severity::warning, .reader = Reader::tolerate,
     .remedy = Remedy::none, .reason = Reason::n7_not_yet, .consent = Consent::none,
     .title = "the feature name table is not a whole number of records"sv,
     .explanation = "The table consists of records of 48 bytes. QEMU doesn't check its length."sv,
     .consequence = "None for the data; messages about unknown features may name the wrong one."sv,
     .advice = "Remove the extension if it disturbs: it is informational."sv,
     .spec = "Feature name table; D5"sv, .deep = false},
    {.code = 310, .name = "ext/feature-table-record"sv,
     .severity = Severity::warning, .lesser = Severity::warning, .reader = Reader::tolerate,
     .remedy = Remedy::none, .reason = Reason::n7_not_yet, .consent = Consent::none,
     .title = "the feature name table has an impossible or doubled record"sv,
     .explanation =
         "A record names one of three feature words and a bit from 0 to 63, each pair at most once. QEMU "
         "doesn't check them and uses a bad bit number when it names unknown features."sv,
     .consequence = "None for the data; messages about unknown features may name the wrong one."sv,
     .advice = "Remove the extension if it disturbs: it is informational."sv,
     .spec = "Feature name table; D5"sv, .deep = false},
    {.code = 311, .name = "ext/feature-table-text"sv,
     .severity = Severity::note, .lesser = Severity::note, .reader = Reader::tolerate,
     .remedy = Remedy::none, .reason = Reason::n3_legal, .consent = Consent::none,
     .title = "a name in the feature name table is not printable text"sv,
     .explanation =
         "The names are shown to people, so a program that prints them unchanged passes control "
         "characters to the terminal; QEMU does. All 46 bytes may be used without a terminator."sv,
     .consequence = "A terminal may interpret the bytes when a program prints the name."sv,
     .advice = "Nothing to do; this program escapes them."sv,
     .spec = "Feature name table"sv, .deep = false},
    {.code = 312, .name = "ext/feature-table-contradiction"sv,
     .severity = Severity::note, .lesser = Severity::note, .reader = Reader::tolerate,
     .remedy = Remedy::none, .reason = Reason::n3_legal, .consent = Consent::none,
     .title = "the feature name table names a known feature bit differently"sv,
     .explanation =
         "The number of a bit decides what it means, the table only names it. A contradiction suggests "
         "that the table was damaged or that its writer means something else by the bit."sv,
     .consequence = "The writer may have meant another feature than the one that is assumed."sv,
     .advice = "Find out which program wrote the image."sv,
     .spec = "Feature name table"sv, .deep = false},
    {.code = 313, .name = "ext/bitmaps-length"sv,
     .severity = Severity::fatal, .lesser = Severity::fatal, .reader = Reader::refuse_write,
     .remedy = Remedy::correct_extension, .reason = Reason::repairable, .consent = Consent::choice,
     .title = "the bitmaps extension does not have 24 bytes"sv,
     .explanation =
         "The extension's data is exactly 24 bytes: number, reserved word, size and offset of the "
         "directory. QEMU refuses the whole image, even for checking, although only the bitmaps are "
         "concerned."sv,
     .consequence =
         "The persistent bitmaps can't be found and QEMU doesn't open the image; the disk's content is "
         "intact."sv,
     .advice = "Make a full backup, then drop the bitmaps; leaks must not be freed before that."sv,
     .spec = "Bitmaps extension"sv, .deep = false, .refused_by_qemu = true},
    {.code = 314, .name = "ext/crypto-length"sv,
     .severity = Severity::fatal, .lesser = Severity::fatal, .reader = Reader::refuse_open,
     .remedy = Remedy::correct_extension, .reason = Reason::repairable, .consent = Consent::choice,
     .title = "the encryption header extension does not have 16 bytes"sv,
     .explanation =
         "The extension's data is exactly 16 bytes: offset and length of the LUKS header. QEMU refuses "
         "the image."sv,
     .consequence = "The LUKS header can't be found, and without it nothing can be decrypted."sv,
     .advice = "Look for the LUKS header in the file and mend the extension in a copy; never remove it."sv,
     .spec = "Full disk encryption header pointer"sv, .deep = false},
    {.code = 315, .name = "ext/data-file-without-bit"sv,
     .severity = Severity::warning, .lesser = Severity::warning, .reader = Reader::tolerate,
     .remedy = Remedy::none, .reason = Reason::n2_two_readings, .consent = Consent::none,
     .title = "the image names an external data file but says it has none"sv,
     .explanation =
         "The name of an external data file belongs to incompatible bit 2. Without the bit QEMU shows the "
         "name in info, doesn't open the file, and drops the name at the next header rewrite. The bit may "
         "have been lost."sv,
     .consequence = "If the bit was lost, guest data is looked up in the wrong file."sv,
     .advice = "Find out whether the image had a data file before anything writes to it."sv,
     .spec = "String header extensions; D28"sv, .deep = false},
    {.code = 316, .name = "ext/data-file-name"sv,
     .severity = Severity::error, .lesser = Severity::error, .reader = Reader::refuse_open,
     .remedy = Remedy::none, .reason = Reason::n1_not_recorded, .consent = Consent::none,
     .title = "the external data file's name is empty, contains a NUL or is not text"sv,
     .explanation =
         "The name is at least one byte of text without NUL. QEMU refuses an empty name, and cuts a name "
         "at a NUL and opens the other file that this names."sv,
     .consequence = "The guest's data can't be found, or a wrong file is read and written."sv,
     .advice = "Give the right file on the command line, or record its name in a copy."sv,
     .spec = "String header extensions"sv, .deep = false},
};
// clang-format on

}  // namespace cowvet::findings::rules
