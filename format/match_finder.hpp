// Finds the longest earlier occurrence of what comes next, within a window of 4096 bytes. Promises: what is
// found is compared byte by byte, so whatever the tables hold, a match is one.
#pragma once
#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "base/bytes.hpp"

namespace cowvet::format {

inline constexpr std::uint32_t window_bytes = 4096;
inline constexpr std::uint32_t shortest_match = 3;
inline constexpr std::uint32_t longest_match = 258;

struct Match {
  std::uint32_t length = 0;  // 0: none
  std::uint32_t distance = 0;
};

class MatchFinder {
 public:
  void begin(base::ConstBytes input) {
    input_ = reinterpret_cast<const unsigned char*>(input.data());
    size_ = input.size();
    heads3_.fill(0);
    heads4_.fill(0);
    next_.fill(0);
  }

  // Positions are told in order, to find() or to skip(); what lies at those left out is not found. The last
  // few of the input have no matches.
  [[nodiscard]] bool near_end(std::size_t at) const { return size_ - at < tail; }

  // The longest match at `at`, if it is longer than `least`; at most `depth` candidates are looked at, and
  // `enough` is long enough to stop. Not near the end.
  [[nodiscard]] Match find(std::size_t at, std::uint32_t least, int depth, std::uint32_t enough) {
    const std::uint32_t four = load(at);
    const std::uint32_t h4 = hash4(four);
    const std::uint32_t h3 = hash3(four);
    const auto here = static_cast<std::uint16_t>(at);
    std::uint16_t candidate = heads4_[h4];
    const std::uint16_t three = heads3_[h3];
    heads4_[h4] = here;
    heads3_[h3] = here;
    next_[at % window_bytes] = candidate;

    Match best{least, 0};
    const auto reach = static_cast<std::uint32_t>(std::min<std::size_t>(at, window_bytes));
    if (least < shortest_match) {
      const auto distance = static_cast<std::uint16_t>(here - three);
      if (distance - 1U < reach && ((load(at - distance) ^ four) & 0xffffff) == 0)
        best = {shortest_match, distance};
    }
    const auto most = static_cast<std::uint32_t>(std::min<std::size_t>(longest_match, size_ - at));
    std::uint32_t before = 0;
    for (; depth > 0; --depth) {
      const auto distance = static_cast<std::uint16_t>(here - candidate);
      if (distance - 1U >= reach || distance <= before) break;
      before = distance;
      const std::size_t other = at - distance;
      candidate = next_[candidate % window_bytes];
      if (load(other) != four) continue;
      // Only what goes on beyond the best is worth to be measured.
      if (best.length >= 4 &&
          (best.length >= most || input_[other + best.length] != input_[at + best.length]))
        continue;
      const std::uint32_t length = common(at, other, most);
      if (length <= best.length) continue;
      best = {length, distance};
      if (length >= enough || length >= most) break;
    }
    return best.distance != 0 ? best : Match{};
  }

  void skip(std::size_t at, std::size_t count) {
    const std::size_t end = std::min(at + count, size_ > tail ? size_ - tail : 0);
    for (; at < end; ++at) {
      const std::uint32_t four = load(at);
      const std::uint32_t h4 = hash4(four);
      next_[at % window_bytes] = heads4_[h4];
      heads4_[h4] = static_cast<std::uint16_t>(at);
      heads3_[hash3(four)] = static_cast<std::uint16_t>(at);
    }
  }

 private:
  // Positions are kept modulo 2^16: an old one that looks new leads to bytes that are compared like all others.
  static constexpr unsigned bits3 = 12, bits4 = 13;
  static constexpr std::size_t tail = 8;  // bytes that are loaded at once

  [[nodiscard]] std::uint32_t load(std::size_t at) const {
    std::uint32_t word = 0;
    std::memcpy(&word, input_ + at, sizeof word);
    return word;
  }
  static std::uint32_t hash3(std::uint32_t four) {
    if constexpr (std::endian::native == std::endian::little) four <<= 8;
    return four * 0x9E3779B1U >> (32 - bits3);
  }
  static std::uint32_t hash4(std::uint32_t four) { return four * 0x9E3779B1U >> (32 - bits4); }

  [[nodiscard]] std::uint32_t common(std::size_t at, std::size_t other, std::uint32_t most) const {
    std::uint32_t length = 4;
    for (; length + 8 <= most; length += 8) {
      std::uint64_t a = 0;
      std::uint64_t b = 0;
      std::memcpy(&a, input_ + at + length, sizeof a);
      std::memcpy(&b, input_ + other + length, sizeof b);
      if (const std::uint64_t differ = a ^ b; differ != 0) {
        const int zeros =
            std::endian::native == std::endian::little ? std::countr_zero(differ) : std::countl_zero(differ);
        return length + static_cast<std::uint32_t>(zeros) / 8;
      }
    }
    while (length < most && input_[at + length] == input_[other + length]) ++length;
    return length;
  }

  const unsigned char* input_ = nullptr;
  std::size_t size_ = 0;
  std::array<std::uint16_t, 1U << bits3> heads3_;  // by the hash of three bytes: where they last were
  std::array<std::uint16_t, 1U << bits4> heads4_;
  std::array<std::uint16_t, window_bytes> next_;  // by position: where the same hash of four bytes was before
};

}  // namespace cowvet::format
