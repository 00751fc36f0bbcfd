// Refcounts of every width inside a refcount block ("Host cluster management"). Promises: no read past the bytes given.
#pragma once
#include <cstdint>

#include "base/bytes.hpp"

namespace cowvet::format {

// Refcount `index` of a block whose width is 1 << order bits. Widths below a byte are packed from the least significant
// bit. An index behind the bytes at hand reads as 0.
[[nodiscard]] inline std::uint64_t refcount_at(base::ConstBytes block, std::uint32_t order,
                                               std::uint64_t index) {
  if (order < 3) {
    const std::uint64_t byte = index >> (3 - order);
    if (byte >= block.size()) return 0;
    const auto shift = static_cast<std::uint32_t>((index << order) & 7);
    const std::uint32_t mask = (1U << (1U << order)) - 1;
    return std::to_integer<std::uint32_t>(block[static_cast<std::size_t>(byte)]) >> shift & mask;
  }
  const std::uint64_t width = 1ULL << (order - 3);
  if (index >= block.size() / width) return 0;
  std::uint64_t value = 0;
  for (auto b : block.subspan(static_cast<std::size_t>(index * width), static_cast<std::size_t>(width)))
    value = value << 8 | std::to_integer<std::uint64_t>(b);
  return value;
}

// Stores a refcount; bits of `value` that don't fit are dropped, an index behind the bytes does nothing.
inline void set_refcount(base::MutableBytes block, std::uint32_t order, std::uint64_t index,
                         std::uint64_t value) {
  if (order < 3) {
    const std::uint64_t byte = index >> (3 - order);
    if (byte >= block.size()) return;
    const auto shift = static_cast<std::uint32_t>((index << order) & 7);
    const std::uint32_t mask = (1U << (1U << order)) - 1;
    auto& b = block[static_cast<std::size_t>(byte)];
    b = static_cast<std::byte>((std::to_integer<std::uint32_t>(b) & ~(mask << shift)) |
                               ((static_cast<std::uint32_t>(value) & mask) << shift));
    return;
  }
  const std::uint64_t width = 1ULL << (order - 3);
  if (index >= block.size() / width) return;
  for (std::uint64_t i = 0; i < width; ++i)
    block[static_cast<std::size_t>(index * width + width - 1 - i)] =
        static_cast<std::byte>(value >> (8 * i) & 0xff);
}

}  // namespace cowvet::format
