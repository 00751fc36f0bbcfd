// Huffman codes as deflate has them (RFC 1951, 3.2.2). Promises: lengths are within the limit, and make a
// complete code; codewords are given as they are written, first bit lowest.
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>

namespace cowvet::format {

inline constexpr std::size_t most_symbols = 288;
inline constexpr unsigned longest_codeword = 15;

// How long each symbol's codeword is; 0 for those that don't occur. At least two of at most `most_symbols`
// symbols must occur, and 2^limit must be enough for all; limit <= longest_codeword.
void code_lengths(std::span<const std::uint32_t> frequencies, unsigned limit,
                  std::span<std::uint8_t> lengths);

void codewords(std::span<const std::uint8_t> lengths, std::span<std::uint16_t> words);

}  // namespace cowvet::format
