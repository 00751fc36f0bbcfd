// Numbers in what a guest wrote, and the checksum that its file systems use. Promises: what lies outside the
// bytes reads as 0, so that no number of a guest leads anywhere.
#pragma once
#include <array>
#include <concepts>
#include <cstdint>
#include <string_view>

#include "base/bytes.hpp"

namespace cowvet::repair {

// Little endian, as ext4, FAT and NTFS write.
template <std::unsigned_integral T>
[[nodiscard]] constexpr T little(base::ConstBytes bytes, std::uint64_t at) {
  if (at > bytes.size() || bytes.size() - at < sizeof(T)) return 0;
  std::uint64_t v = 0;
  for (std::size_t i = sizeof(T); i-- > 0;)
    v = v << 8 | std::to_integer<std::uint64_t>(bytes[static_cast<std::size_t>(at) + i]);
  return static_cast<T>(v);
}

// Big endian, as XFS writes.
template <std::unsigned_integral T>
[[nodiscard]] constexpr T big(base::ConstBytes bytes, std::uint64_t at) {
  if (at > bytes.size() || bytes.size() - at < sizeof(T)) return 0;
  std::uint64_t v = 0;
  for (std::size_t i = 0; i < sizeof(T); ++i)
    v = v << 8 | std::to_integer<std::uint64_t>(bytes[static_cast<std::size_t>(at) + i]);
  return static_cast<T>(v);
}

[[nodiscard]] constexpr bool says(base::ConstBytes bytes, std::uint64_t at, std::string_view text) {
  if (at > bytes.size() || bytes.size() - at < text.size()) return false;
  for (std::size_t i = 0; i < text.size(); ++i)
    if (bytes[static_cast<std::size_t>(at) + i] != static_cast<std::byte>(text[i])) return false;
  return true;
}

// A part of `bytes`; empty when it is not there.
[[nodiscard]] constexpr base::ConstBytes part(base::ConstBytes bytes, std::uint64_t at,
                                              std::uint64_t length) {
  if (at > bytes.size() || bytes.size() - at < length) return {};
  return bytes.subspan(static_cast<std::size_t>(at), static_cast<std::size_t>(length));
}

namespace detail {
inline constexpr auto castagnoli = [] {
  std::array<std::uint32_t, 256> table{};
  for (std::uint32_t i = 0; i < table.size(); ++i) {
    std::uint32_t v = i;
    for (unsigned bit = 0; bit < 8; ++bit) v = (v & 1) != 0 ? v >> 1 ^ 0x82f63b78U : v >> 1;
    table[i] = v;
  }
  return table;
}();
}  // namespace detail

// CRC-32C that goes on from `crc`; nothing is inverted at either end.
[[nodiscard]] constexpr std::uint32_t crc32c(std::uint32_t crc, base::ConstBytes bytes) {
  for (const auto byte : bytes)
    crc = crc >> 8 ^ detail::castagnoli[(crc ^ std::to_integer<std::uint32_t>(byte)) & 0xff];
  return crc;
}
[[nodiscard]] constexpr std::uint32_t crc32c(std::uint32_t crc, std::uint32_t number) {
  std::array<std::byte, 4> bytes{};
  for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::byte>(number >> (8 * i) & 0xff);
  return crc32c(crc, base::ConstBytes(bytes));
}

}  // namespace cowvet::repair
