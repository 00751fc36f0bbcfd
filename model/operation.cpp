#include "model/operation.hpp"

#include <algorithm>

namespace cowvet::model {

std::vector<std::byte> filled(const Fill& fill, std::size_t length) {
  std::vector<std::byte> bytes(length, static_cast<std::byte>(fill.seed));
  if (fill.kind == Fill::Kind::byte) return bytes;
  // The script of a sequence makes the same bytes: model/script.cpp.
  std::uint32_t state = fill.seed + 1U;
  const unsigned shift = fill.kind == Fill::Kind::text ? 28 : 24;
  for (std::size_t i = 0; i < std::min(length, fill_period); ++i) {
    state = state * 1664525U + 1013904223U;
    bytes[i] = static_cast<std::byte>(state >> shift);
  }
  for (std::size_t i = fill_period; i < length; ++i) bytes[i] = bytes[i - fill_period];
  return bytes;
}

}  // namespace cowvet::model
