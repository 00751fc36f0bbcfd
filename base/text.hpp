// Text from inside an image, made fit for people: names are bytes that somebody else chose.
// Promises: what escape() returns is UTF-8 that moves no cursor, ends no line and turns no reading direction,
// so that it is safe on a terminal and as a JSON string.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

namespace cowvet::base {

// Whether `text` is UTF-8 without control characters, line separators and marks that change the reading direction: it
// is what it looks like.
[[nodiscard]] bool plain_text(std::string_view text);

// `text` with every byte of what is not plain written as \xNN. Plain text stays as it is, backslashes included: the
// result is for reading, not for turning back.
[[nodiscard]] std::string escape(std::string_view text);

// A number of bytes with three significant digits, as qemu-img prints sizes: "512 B", "196 KiB", "1.5 GiB".
[[nodiscard]] std::string human_size(std::uint64_t bytes);

}  // namespace cowvet::base
