// Area 12, crypt: how the image says that it is encrypted, and the region of the file that holds the LUKS
// header. None of it needs the key. The LUKS header's own fields are in area luks. A LUKS region whose
// refcount is wrong is a matter of refcount/zero-in-use, too-low or too-high, with the region named as owner.
#pragma once

#include <string_view>

#include "findings/row.hpp"

namespace cowvet::findings::rules {

using namespace std::string_view_literals;

// clang-format off: a row is laid out by hand so that it reads as one.
inline constexpr Rule crypt[] = {
    {.code = 1201, .name = "crypt/aes-legacy"sv,
     .severity = Severity::warning, .lesser = Severity::warning, .reader = Reader::tolerate,
     .remedy = Remedy::none, .reason = Reason::n4_would_discard, .consent = Consent::none,
     .title = "the image uses the old AES encryption, which is not safe"sv,
     .explanation =
         "Method 1 derives the key from the first 16 bytes of the password without any stretching, and "
         "its cipher mode leaks patterns. The format speaks of 256-bit keys, QEMU uses 128 bits, and no "
         "other program makes such images. QEMU's system emulator refuses them."sv,
     .consequence =
         "The password can be guessed quickly by whoever has the file, and the emulator doesn't start the "
         "image."sv,
     .advice = "Convert the image to LUKS with qemu-img convert."sv,
     .spec = "Data encryption; D7"sv, .deep = false},
    {.code = 1202, .name = "crypt/aes-no-extension"sv,
     .severity = Severity::fatal, .lesser = Severity::fatal, .reader = Reader::refuse_open,
     .remedy = Remedy::correct_header, .reason = Reason::repairable, .consent = Consent::choice,
     .title = "there is an encryption header although the encryption method doesn't use one"sv,
     .explanation =
         "Only method 2 has the encryption header extension. With method 0 or 1 either the method or the "
         "extension is damaged. QEMU refuses the image."sv,
     .consequence =
         "Opened with the wrong method the guest would see ciphertext, and its writes would destroy data."sv,
     .advice =
         "Look whether the extension leads to a LUKS header: then mend the method in a copy. Never drop "
         "the extension."sv,
     .spec = "Full disk encryption header pointer"sv, .deep = false},
    {.code = 1203, .name = "crypt/luks-extension"sv,
     .severity = Severity::fatal, .lesser = Severity::fatal, .reader = Reader::refuse_open,
     .remedy = Remedy::correct_header, .reason = Reason::repairable, .consent = Consent::choice,
     .title = "the image is encrypted with LUKS but has no encryption header"sv,
     .explanation =
         "Method 2 needs the extension that says where the LUKS header is. QEMU refuses the image."sv,
     .consequence = "Without the LUKS header nothing can be decrypted."sv,
     .advice = "Look for the LUKS header in the file and mend the extension in a copy."sv,
     .spec = "Full disk encryption header pointer"sv, .deep = false},
    {.code = 1204, .name = "crypt/header-offset"sv,
     .severity = Severity::fatal, .lesser = Severity::fatal, .reader = Reader::refuse_open,
     .remedy = Remedy::relink_structure, .reason = Reason::repairable, .consent = Consent::choice,
     .title = "the LUKS header's position is impossible"sv,
     .explanation = "The LUKS header begins at a cluster boundary other than 0. QEMU refuses the image."sv,
     .consequence = "Without the LUKS header nothing can be decrypted."sv,
     .advice = "Look for the LUKS header in the file and mend the extension in a copy."sv,
     .spec = "Full disk encryption header pointer"sv, .deep = false},
    {.code = 1205, .name = "crypt/header-length-min"sv,
     .severity = Severity::fatal, .lesser = Severity::error, .reader = Reader::refuse_open,
     .remedy = Remedy::relink_structure, .reason = Reason::repairable, .consent = Consent::choice,
     .title = "the LUKS region is too short for the LUKS header and its keys"sv,
     .explanation =
         "The region holds 592 bytes of header and the key material of every slot. QEMU refuses less than "
         "592 bytes; with less than the key material info works and unlocking fails."sv,
     .consequence =
         "Key slots can't be read, and clusters of the region look like leaked space: freeing them "
         "destroys the key."sv,
     .advice = "Mend the length in a copy; don't free leaks."sv,
     .spec = "Full disk encryption header pointer"sv, .deep = false},
    {.code = 1206, .name = "crypt/header-length-max"sv,
     .severity = Severity::error, .lesser = Severity::error, .reader = Reader::refuse_write,
     .remedy = Remedy::relink_structure, .reason = Reason::repairable, .consent = Consent::choice,
     .title = "the LUKS region is longer than the LUKS header or the file"sv,
     .explanation =
         "The region ends inside the file and not after the payload offset that the LUKS header states, "
         "rounded up to a cluster. QEMU doesn't check it. If the region reaches past the end of the file, "
         "QEMU's check calls the LUKS header a leak and its leak repair zeroes it."sv,
     .consequence = "A leak repair by QEMU destroys the key, and with it all data."sv,
     .advice = "Keep a copy of the LUKS region; mend the length in a copy and don't free leaks."sv,
     .spec = "Full disk encryption header pointer; D39"sv, .deep = false},
    {.code = 1207, .name = "crypt/header-unique"sv,
     .severity = Severity::error, .lesser = Severity::error, .reader = Reader::refuse_write,
     .remedy = Remedy::none, .reason = Reason::n5_content_lost, .consent = Consent::none,
     .title = "the LUKS header's clusters are owned by something else too"sv,
     .explanation =
         "The region holds nothing else. QEMU's check sees a wrong refcount at most, and its protection "
         "against overlapping writes doesn't cover the region."sv,
     .consequence = "A single write by the guest may destroy the key, and with it all data."sv,
     .advice = "Don't start a virtual machine on this image; keep a copy of the LUKS region first."sv,
     .spec = "Full disk encryption header pointer"sv, .deep = false},
    {.code = 1208, .name = "crypt/region-padding"sv,
     .severity = Severity::note, .lesser = Severity::note, .reader = Reader::tolerate,
     .remedy = Remedy::none, .reason = Reason::n4_would_discard, .consent = Consent::none,
     .title = "the rest of the LUKS region's last cluster is not zero"sv,
     .explanation =
         "Nothing reads the bytes between the stated length and the end of the cluster; writers leave "
         "zeros there."sv,
     .consequence = "None; the bytes may be a remnant of key material or hidden data."sv,
     .advice = "Nothing to do, unless the image is passed on."sv,
     .spec = "Full disk encryption header pointer"sv, .deep = false},
    {.code = 1209, .name = "crypt/eof-zeros"sv,
     .severity = Severity::error, .lesser = Severity::error, .reader = Reader::fail_read,
     .remedy = Remedy::none, .reason = Reason::n5_content_lost, .consent = Consent::none,
     .title = "an encrypted data cluster is cut off by the end of the file"sv,
     .explanation =
         "In an image without encryption the missing end of the last cluster reads as zeros. Decrypted, "
         "zeros are noise, so here the cluster has to be complete. QEMU doesn't notice."sv,
     .consequence = "The guest sees noise instead of its data."sv,
     .advice = "If the file was cut, get the missing part."sv,
     .spec = "Data encryption; D34"sv, .deep = false},
};
// clang-format on

}  // namespace cowvet::findings::rules
