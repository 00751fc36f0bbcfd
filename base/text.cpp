#include "base/text.hpp"

#include <array>
#include <cstddef>
#include <optional>

#include <fmt/format.h>

namespace cowvet::base {

namespace {

struct Character {
  char32_t code = 0;
  std::size_t length = 1;  // bytes
};

std::uint32_t byte_at(std::string_view text, std::size_t i) { return static_cast<unsigned char>(text[i]); }

// The character at the front of `text` (not empty); nothing when the bytes are no UTF-8: a byte that starts none, a
// sequence cut short, one longer than need be, a surrogate, or a code behind U+10FFFF.
std::optional<Character> front(std::string_view text) {
  const std::uint32_t first = byte_at(text, 0);
  if (first < 0x80) return Character{first, 1};
  const std::size_t length = first < 0xc0 ? 0 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : first < 0xf8 ? 4 : 0;
  if (length == 0 || length > text.size()) return std::nullopt;
  char32_t code = first & (0x7fU >> length);
  for (std::size_t i = 1; i < length; ++i) {
    const std::uint32_t next = byte_at(text, i);
    if ((next & 0xc0) != 0x80) return std::nullopt;
    code = code << 6 | (next & 0x3f);
  }
  constexpr std::array<char32_t, 5> least{0, 0, 0x80, 0x800, 0x10000};
  if (code < least[length] || code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff)) return std::nullopt;
  return Character{code, length};
}

bool is_plain(char32_t code) {
  if (code < 0x20 || (code >= 0x7f && code < 0xa0)) return false;       // control characters
  if (code == 0x2028 || code == 0x2029) return false;                   // line and paragraph separator
  if (code == 0x61c || code == 0x200e || code == 0x200f) return false;  // direction marks
  return !(code >= 0x202a && code <= 0x202e) &&
         !(code >= 0x2066 && code <= 0x2069);  // embeddings, overrides, isolates
}

// Bytes at the front of `text` (not empty) that are one plain character; 0 when there is none.
std::size_t plain_front(std::string_view text) {
  const auto character = front(text);
  return character && is_plain(character->code) ? character->length : 0;
}

}  // namespace

bool plain_text(std::string_view text) {
  while (!text.empty()) {
    const std::size_t length = plain_front(text);
    if (length == 0) return false;
    text.remove_prefix(length);
  }
  return true;
}

std::string escape(std::string_view text) {
  std::string out;
  while (!text.empty()) {
    const std::size_t length = plain_front(text);
    if (length == 0) {
      // A character that is not plain is escaped byte by byte: none of its further bytes starts a character.
      out += fmt::format("\\x{:02x}", byte_at(text, 0));
      text.remove_prefix(1);
    } else {
      out += text.substr(0, length);
      text.remove_prefix(length);
    }
  }
  return out;
}

std::string human_size(std::uint64_t bytes) {
  static constexpr std::array units{"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
  auto value = static_cast<double>(bytes);
  std::size_t unit = 0;
  // The next unit is taken from 1000 on, as qemu-img does, so that three digits suffice.
  for (; value >= 1000 && unit + 1 < units.size(); ++unit) value /= 1024;
  return fmt::format("{:.3g} {}", value, units[unit]);
}

}  // namespace cowvet::base
