// Area 13, luks: the fields of the LUKS version 1 header inside the image. All of it can be checked without
// the key. Everything hangs on these few bytes: if they are lost, so is all data, which is why no rule here
// has a repair.
#pragma once

#include <string_view>

#include "findings/row.hpp"

namespace cowvet::findings::rules {

using namespace std::string_view_literals;

// clang-format off: a row is laid out by hand so that it reads as one.
inline constexpr Rule luks[] = {
    {.code = 1301, .name = "luks/magic"sv,
     .severity = Severity::fatal, .lesser = Severity::fatal, .reader = Reader::refuse_open,
     .remedy = Remedy::correct_luks_field, .reason = Reason::repairable, .consent = Consent::choice,
     .title = "there is no LUKS header where the extension points"sv,
     .explanation = "The LUKS header begins with 4C 55 4B 53 BA BE. QEMU refuses the image."sv,
     .consequence = "Without the LUKS header nothing can be decrypted."sv,
     .advice = "Look for the LUKS header elsewhere in the file or in a backup of it."sv,
     .spec = "Full disk encryption header pointer"sv, .deep = false},
    {.code = 1302, .name = "luks/version"sv,
     .severity = Severity::fatal, .lesser = Severity::fatal, .reader = Reader::refuse_open,
     .remedy = Remedy::correct_luks_field, .reason = Reason::repairable, .consent = Consent::choice,
     .title = "the LUKS header has a version other than 1"sv,
     .explanation = "qcow2 images use LUKS version 1. QEMU refuses the image."sv,
     .consequence = "The layout of the key material is unknown, so nothing can be decrypted."sv,
     .advice = "If the field was damaged, mend it in a copy."sv,
     .spec = "Full disk encryption header pointer"sv, .deep = false},
    {.code = 1303, .name = "luks/strings"sv,
     .severity = Severity::fatal, .lesser = Severity::fatal, .reader = Reader::refuse_open,
     .remedy = Remedy::correct_luks_field, .reason = Reason::repairable, .consent = Consent::choice,
     .title = "a name in the LUKS header is not terminated"sv,
     .explanation =
         "Cipher name, cipher mode and hash end with a NUL inside their 32 bytes. QEMU refuses the image."sv,
     .consequence = "The cipher is unknown, so nothing can be decrypted."sv,
     .advice = "Mend the field in a copy; most images use aes, xts-plain64 and sha256."sv,
     .spec = "Full disk encryption header pointer"sv, .deep = false},
    {.code = 1304, .name = "luks/cipher"sv,
     .severity = Severity::fatal, .lesser = Severity::fatal, .reader = Reader::refuse_open,
     .remedy = Remedy::correct_luks_field, .reason = Reason::repairable, .consent = Consent::choice,
     .title = "the LUKS cipher or its key size is unknown"sv,
     .explanation =
         "Known are aes, serpent and twofish with keys of 16, 24 or 32 bytes, cast5 with 16, and sm4 with "
         "16 where it is built in; the XTS mode stores keys of twice that length. QEMU refuses the image."sv,
     .consequence = "The data can't be decrypted."sv,
     .advice = "Mend the field in a copy; most images use aes with a stored key of 64 bytes."sv,
     .spec = "Full disk encryption header pointer"sv, .deep = false},
    {.code = 1305, .name = "luks/mode"sv,
     .severity = Severity::fatal, .lesser = Severity::fatal, .reader = Reader::refuse_open,
     .remedy = Remedy::correct_luks_field, .reason = Reason::repairable, .consent = Consent::choice,
     .title = "the LUKS cipher mode is unknown"sv,
     .explanation =
         "The mode is ecb, cbc, xts or ctr, a minus sign, and a generator, plain, plain64 or essiv; essiv "
         "is followed by a colon and a hash whose size is a key size of the cipher. QEMU refuses the "
         "image."sv,
     .consequence = "The data can't be decrypted."sv,
     .advice = "Mend the field in a copy; most images use xts-plain64."sv,
     .spec = "Full disk encryption header pointer"sv, .deep = false},
    {.code = 1306, .name = "luks/hash"sv,
     .severity = Severity::fatal, .lesser = Severity::fatal, .reader = Reader::refuse_open,
     .remedy = Remedy::correct_luks_field, .reason = Reason::repairable, .consent = Consent::choice,
     .title = "the LUKS hash is unknown"sv,
     .explanation =
         "Known are sha1, sha224, sha256, sha384, sha512, ripemd160, md5 and sm3. QEMU refuses the image."sv,
     .consequence = "The key can't be derived from the password, so the data can't be decrypted."sv,
     .advice = "Mend the field in a copy; most images use sha256."sv,
     .spec = "Full disk encryption header pointer"sv, .deep = false},
    {.code = 1307, .name = "luks/payload-offset-min"sv,
     .severity = Severity::error, .lesser = Severity::error, .reader = Reader::refuse_open,
     .remedy = Remedy::none, .reason = Reason::n1_not_recorded, .consent = Consent::none,
     .title = "the LUKS payload offset is too small"sv,
     .explanation =
         "The payload begins at sector 8 or later; 0 would mean a header kept elsewhere, which qcow2 "
         "doesn't have. QEMU refuses the image."sv,
     .consequence = "QEMU doesn't open the image; the ranges of the key slots can't be verified."sv,
     .advice = "Mend the field in a copy: QEMU stores the length of the LUKS region."sv,
     .spec = "Full disk encryption header pointer"sv, .deep = false},
    {.code = 1308, .name = "luks/payload-offset-match"sv,
     .severity = Severity::warning, .lesser = Severity::warning, .reader = Reader::tolerate,
     .remedy = Remedy::relink_structure, .reason = Reason::repairable, .consent = Consent::choice,
     .title = "the LUKS payload offset differs from the length of the LUKS region"sv,
     .explanation =
         "QEMU makes the two equal and uses the offset for nothing else, so a difference shows that one "
         "of them was changed."sv,
     .consequence =
         "If the region's length is the wrong one, a part of the key material may look like leaked space."sv,
     .advice = "Find out which one is right from the key slots before leaks are freed."sv,
     .spec = "Full disk encryption header pointer"sv, .deep = false},
    {.code = 1309, .name = "luks/master-iterations"sv,
     .severity = Severity::fatal, .lesser = Severity::fatal, .reader = Reader::refuse_open,
     .remedy = Remedy::none, .reason = Reason::n1_not_recorded, .consent = Consent::none,
     .title = "the LUKS master key's iteration count is zero"sv,
     .explanation =
         "The digest that proves the master key has at least one iteration. QEMU refuses the image."sv,
     .consequence = "No password can be verified, so the data can't be decrypted with usual tools."sv,
     .advice = "Restore the LUKS header from a backup."sv,
     .spec = "Full disk encryption header pointer"sv, .deep = false},
    {.code = 1310, .name = "luks/slot-state"sv,
     .severity = Severity::error, .lesser = Severity::error, .reader = Reader::refuse_open,
     .remedy = Remedy::correct_luks_field, .reason = Reason::repairable, .consent = Consent::choice,
     .title = "a LUKS key slot is neither in use nor free"sv,
     .explanation = "A slot's state is 00AC71F3 for used or 0000DEAD for free. QEMU refuses the image."sv,
     .consequence = "QEMU doesn't open the image; the slot's password may be the only one."sv,
     .advice = "Restore the state in a copy; don't reset the slot."sv,
     .spec = "Full disk encryption header pointer"sv, .deep = false},
    {.code = 1311, .name = "luks/slot-stripes"sv,
     .severity = Severity::error, .lesser = Severity::error, .reader = Reader::refuse_open,
     .remedy = Remedy::correct_luks_field, .reason = Reason::repairable, .consent = Consent::choice,
     .title = "a LUKS key slot does not have 4000 stripes"sv,
     .explanation = "Every slot, used or free, has 4000 stripes. QEMU refuses the image."sv,
     .consequence = "QEMU doesn't open the image; if the slot is used, its key can't be read."sv,
     .advice = "Store 4000 in a copy."sv,
     .spec = "Full disk encryption header pointer"sv, .deep = false},
    {.code = 1312, .name = "luks/slot-iterations"sv,
     .severity = Severity::error, .lesser = Severity::error, .reader = Reader::tolerate,
     .remedy = Remedy::none, .reason = Reason::n1_not_recorded, .consent = Consent::none,
     .title = "a used LUKS key slot's iteration count is zero"sv,
     .explanation = "A used slot has at least one iteration. QEMU refuses the image."sv,
     .consequence = "The slot's password doesn't unlock the image, and QEMU doesn't open it."sv,
     .advice = "Restore the LUKS header from a backup."sv,
     .spec = "Full disk encryption header pointer"sv, .deep = false, .refused_by_qemu = true},
    {.code = 1313, .name = "luks/slot-range"sv,
     .severity = Severity::error, .lesser = Severity::error, .reader = Reader::refuse_open,
     .remedy = Remedy::none, .reason = Reason::n1_not_recorded, .consent = Consent::none,
     .title = "a LUKS key slot's key material lies outside its place"sv,
     .explanation =
         "Key material begins at sector 8 or later and ends before the payload offset. QEMU refuses the "
         "image."sv,
     .consequence = "The slot's key can't be read, and QEMU doesn't open the image."sv,
     .advice = "Restore the LUKS header from a backup; the slots of a QEMU image follow each other evenly."sv,
     .spec = "Full disk encryption header pointer"sv, .deep = false},
    {.code = 1314, .name = "luks/slot-overlap"sv,
     .severity = Severity::error, .lesser = Severity::error, .reader = Reader::refuse_open,
     .remedy = Remedy::none, .reason = Reason::n2_two_readings, .consent = Consent::none,
     .title = "the key material of two LUKS key slots overlaps"sv,
     .explanation = "The slots' key material is disjoint, free slots included. QEMU refuses the image."sv,
     .consequence = "Setting one password destroys the other, and QEMU doesn't open the image."sv,
     .advice = "Restore the LUKS header from a backup; the slots of a QEMU image follow each other evenly."sv,
     .spec = "Full disk encryption header pointer"sv, .deep = false},
    {.code = 1315, .name = "luks/no-active-slot"sv,
     .severity = Severity::error, .lesser = Severity::error, .reader = Reader::refuse_open,
     .remedy = Remedy::none, .reason = Reason::n5_content_lost, .consent = Consent::none,
     .title = "no LUKS key slot is in use, so no password can open the image"sv,
     .explanation =
         "At least one slot holds the master key under a password. QEMU shows the image in info, and "
         "reports a wrong password for every password."sv,
     .consequence = "Nothing can be decrypted without a copy of the master key or of the LUKS header."sv,
     .advice = "Restore the LUKS header from a backup."sv,
     .spec = "Full disk encryption header pointer"sv, .deep = false},
    {.code = 1316, .name = "luks/uuid"sv,
     .severity = Severity::note, .lesser = Severity::note, .reader = Reader::tolerate,
     .remedy = Remedy::none, .reason = Reason::n3_legal, .consent = Consent::none,
     .title = "the LUKS UUID is not printable text"sv,
     .explanation = "The UUID is text with a terminator in its 40 bytes. Nothing depends on it."sv,
     .consequence = "None for the data."sv,
     .advice = "Nothing to do."sv,
     .spec = "Full disk encryption header pointer"sv, .deep = false},
    {.code = 1317, .name = "luks/weak"sv,
     .severity = Severity::note, .lesser = Severity::note, .reader = Reader::tolerate,
     .remedy = Remedy::none, .reason = Reason::n3_legal, .consent = Consent::none,
     .title = "the LUKS header uses a weak mode, hash or iteration count"sv,
     .explanation =
         "Weak are the ecb mode, the plain generator on large disks, md5 and sha1 for deriving the key, "
         "and few iterations."sv,
     .consequence =
         "Whoever has the file may find out more, or guess the password faster, than today's settings "
         "allow."sv,
     .advice = "Convert the image with current settings if it leaves your hands."sv,
     .spec = "Full disk encryption header pointer"sv, .deep = false},
};
// clang-format on

}  // namespace cowvet::findings::rules
