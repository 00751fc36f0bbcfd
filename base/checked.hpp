// Checked arithmetic on untrusted 64-bit sizes. Promises: no result is ever a wrapped value.
#pragma once
#include <cstdint>
#include <limits>
#include <optional>

namespace cowvet::base {

[[nodiscard]] constexpr std::optional<std::uint64_t> checked_add(std::uint64_t a, std::uint64_t b) {
  std::uint64_t r = 0;
  if (__builtin_add_overflow(a, b, &r)) return std::nullopt;
  return r;
}

[[nodiscard]] constexpr std::optional<std::uint64_t> checked_mul(std::uint64_t a, std::uint64_t b) {
  std::uint64_t r = 0;
  if (__builtin_mul_overflow(a, b, &r)) return std::nullopt;
  return r;
}

// a + b, or the largest value when that does not fit.
[[nodiscard]] constexpr std::uint64_t saturating_add(std::uint64_t a, std::uint64_t b) {
  return checked_add(a, b).value_or(std::numeric_limits<std::uint64_t>::max());
}

[[nodiscard]] constexpr std::uint64_t saturating_mul(std::uint64_t a, std::uint64_t b) {
  return checked_mul(a, b).value_or(std::numeric_limits<std::uint64_t>::max());
}

// ceil(a / b) without the customary overflow of a + b - 1. b must not be 0.
[[nodiscard]] constexpr std::uint64_t divide_up(std::uint64_t a, std::uint64_t b) {
  return a / b + (a % b != 0);
}

// a rounded up to a multiple of `unit` (a power of two), or nothing when that does not fit.
[[nodiscard]] constexpr std::optional<std::uint64_t> round_up(std::uint64_t a, std::uint64_t unit) {
  auto sum = checked_add(a, unit - 1);
  if (!sum) return std::nullopt;
  return *sum & ~(unit - 1);
}

}  // namespace cowvet::base
