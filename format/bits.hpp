// Bits once: a 64-bit word's parts by name. Promises: an unnamed bit, or one named twice, does not compile; the mask of
// reserved bits is derived, never written.
#pragma once
#include <array>
#include <bit>
#include <cstdint>
#include <span>
#include <string_view>

namespace cowvet::format {

struct BitInfo {
  std::string_view name;
  int low, high;  // both inclusive
  bool reserved;  // must be zero
  [[nodiscard]] constexpr std::uint64_t mask() const { return (~0ULL >> (63 - high)) & (~0ULL << low); }
  [[nodiscard]] constexpr std::uint64_t get(std::uint64_t word) const { return (word & mask()) >> low; }
  // The word with this part replaced; bits of `value` that don't fit are dropped.
  [[nodiscard]] constexpr std::uint64_t set(std::uint64_t word, std::uint64_t value) const {
    return (word & ~mask()) | ((value << low) & mask());
  }
};

template <int Low, int High>
struct BitRange {
  static_assert(0 <= Low && Low <= High && High < 64);
  static constexpr std::uint64_t mask = (~0ULL >> (63 - High)) & (~0ULL << Low);
  std::string_view name;
  bool is_reserved;
};

template <int Low, int High = Low>
consteval BitRange<Low, High> bits(std::string_view name) {
  return {name, false};
}
template <int Low, int High = Low>
consteval BitRange<Low, High> reserved(std::string_view name = "reserved") {
  return {name, true};
}

template <std::size_t N>
struct Word {
  std::string_view name, spec;
  std::array<BitInfo, N> parts;
  std::uint64_t reserved_mask;
  // The part called `name`; used at compile time, where a misspelt name does not compile.
  [[nodiscard]] consteval BitInfo operator[](std::string_view wanted) const {
    for (const auto& part : parts)
      if (part.name == wanted) return part;
    throw "no such part";
  }
};

template <int... Low, int... High>
consteval Word<sizeof...(Low)> word(std::string_view name, std::string_view spec,
                                    BitRange<Low, High>... part) {
  static_assert(
      (BitRange<Low, High>::mask ^ ...) == ~0ULL && (std::popcount(BitRange<Low, High>::mask) + ...) == 64,
      "every bit is named exactly once");
  return {name,
          spec,
          {BitInfo{part.name, Low, High, part.is_reserved}...},
          (0ULL | ... | (part.is_reserved ? BitRange<Low, High>::mask : 0))};
}

}  // namespace cowvet::format
