// Big-endian access to bytes whose number is proved by their type. Promises: no read or write past a span's end can be
// expressed; a run-time length becomes a compile-time one in exactly one place, `prefix`.
#pragma once
#include <bit>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>

namespace cowvet::base {

using ConstBytes = std::span<const std::byte>;
using MutableBytes = std::span<std::byte>;

template <std::unsigned_integral T>
[[nodiscard]] constexpr T from_big_endian(T v) {
  if constexpr (sizeof(T) == 1 || std::endian::native == std::endian::big) {
    return v;
  } else if constexpr (sizeof(T) == 2) {
    return __builtin_bswap16(v);
  } else if constexpr (sizeof(T) == 4) {
    return __builtin_bswap32(v);
  } else {
    return __builtin_bswap64(v);
  }
}

// The big-endian integer at byte `Off`; the extent proves that it is there.
template <std::unsigned_integral T, std::size_t Off, std::size_t N>
  requires(N != std::dynamic_extent && Off + sizeof(T) <= N)
[[nodiscard]] constexpr T load_be(std::span<const std::byte, N> b) {
  std::uint64_t v = 0;
  for (std::size_t i = 0; i < sizeof(T); ++i) v = v << 8 | std::to_integer<std::uint64_t>(b[Off + i]);
  return static_cast<T>(v);
}

template <std::unsigned_integral T, std::size_t Off, std::size_t N>
  requires(N != std::dynamic_extent && Off + sizeof(T) <= N)
constexpr void store_be(std::span<std::byte, N> b, T v) {
  for (std::size_t i = 0; i < sizeof(T); ++i)
    b[Off + sizeof(T) - 1 - i] = static_cast<std::byte>(static_cast<std::uint64_t>(v) >> (8 * i) & 0xff);
}

// The first N bytes, if there are that many.
template <std::size_t N>
[[nodiscard]] constexpr std::optional<std::span<const std::byte, N>> prefix(ConstBytes b) {
  if (b.size() < N) return std::nullopt;
  return b.template first<N>();
}

// A table of big-endian integers of one width, as tables lie on disk. Bytes after the last whole entry are not part.
template <std::unsigned_integral T>
class BigEndianTable {
 public:
  explicit constexpr BigEndianTable(ConstBytes bytes) : bytes_(bytes) {}
  [[nodiscard]] constexpr std::size_t size() const { return bytes_.size() / sizeof(T); }
  // Entry i; i < size() is the caller's duty (checked in hardened builds).
  [[nodiscard]] T operator[](std::size_t i) const {
    T v;
    std::memcpy(&v, bytes_.subspan(i * sizeof(T), sizeof(T)).data(), sizeof(T));
    return from_big_endian(v);
  }

 private:
  ConstBytes bytes_;
};

// Takes bytes from the front of a variable-length area. Its only primitive is take(n); nothing when n bytes
// aren't left.
class Cursor {
 public:
  explicit constexpr Cursor(ConstBytes bytes) : rest_(bytes), total_(bytes.size()) {}
  [[nodiscard]] constexpr std::optional<ConstBytes> take(std::uint64_t n) {
    if (n > rest_.size()) return std::nullopt;
    auto front = rest_.first(static_cast<std::size_t>(n));
    rest_ = rest_.subspan(static_cast<std::size_t>(n));
    return front;
  }
  [[nodiscard]] constexpr ConstBytes rest() const { return rest_; }
  [[nodiscard]] constexpr std::size_t position() const { return total_ - rest_.size(); }

 private:
  ConstBytes rest_;
  std::size_t total_;
};

// Whether every byte is zero.
[[nodiscard]] inline bool all_zero(ConstBytes b) {
  return b.empty() || (b[0] == std::byte{0} && std::memcmp(b.data(), b.data() + 1, b.size() - 1) == 0);
}

}  // namespace cowvet::base
