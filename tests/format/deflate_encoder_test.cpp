// The encoder of clusters: every stream decodes to its input in a window of 4096 bytes, and is about as short
// as zlib's.
#include "format/deflate_encoder.hpp"

#include <algorithm>
#include <random>
#include <string>

#include <gtest/gtest.h>
#include <zlib.h>

#include "format/cluster_encoder.hpp"
#include "format/compress.hpp"
#include "format/compression.hpp"
#include "format/huffman.hpp"

namespace cowvet::format {
namespace {

using Bytes = std::vector<std::byte>;

// Decodes as the strictest reader: no more of the output is kept than the window.
Bytes inflated(const Bytes& stream, std::size_t size) {
  z_stream z{};
  EXPECT_EQ(inflateInit2(&z, -12), Z_OK);
  Bytes copy = stream;
  z.next_in = reinterpret_cast<Bytef*>(copy.data());
  z.avail_in = static_cast<uInt>(copy.size());
  Bytes out;
  std::array<Bytef, 4096> piece;
  int result = Z_OK;
  while (result == Z_OK && out.size() <= size) {
    z.next_out = piece.data();
    z.avail_out = 61;  // so that zlib must look into its window
    result = ::inflate(&z, Z_NO_FLUSH);
    const auto* const bytes = reinterpret_cast<const std::byte*>(piece.data());
    out.insert(out.end(), bytes, bytes + (61 - z.avail_out));
  }
  EXPECT_EQ(result, Z_STREAM_END) << (z.msg != nullptr ? z.msg : "");
  EXPECT_EQ(z.avail_in, 0U);
  inflateEnd(&z);
  return out;
}

Bytes of_text(std::size_t size, unsigned seed) {
  static const std::array<std::string, 8> words{"cluster ", "the ", "refcount ", "of ",
                                                "table ",   "\n",   "offset = ", "0x1000, "};
  std::mt19937 random(seed);
  std::string text;
  while (text.size() < size) text += words[random() % words.size()] + std::to_string(random() % 50);
  Bytes bytes(size);
  std::transform(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(size), bytes.begin(),
                 [](char c) { return static_cast<std::byte>(c); });
  return bytes;
}

Bytes of_noise(std::size_t size, unsigned symbols, unsigned seed) {
  std::mt19937 random(seed);
  Bytes bytes(size);
  for (auto& b : bytes) b = static_cast<std::byte>(random() % symbols);
  return bytes;
}

TEST(DeflateEncoder, every_stream_decodes_to_its_input) {
  DeflateEncoder encoder;
  std::vector<Bytes> inputs;
  for (const std::size_t size : std::initializer_list<std::size_t>{0, 1, 2, 3, 7, 8, 9, 15, 511, 512, 4095,
                                                                   4096, 4097, 65536, 200000, 2 << 20}) {
    inputs.push_back(Bytes(size));
    inputs.push_back(of_text(size, 1));
    for (const unsigned symbols : {2U, 3U, 100U, 256U}) inputs.push_back(of_noise(size, symbols, 4));
  }
  // Repeats at and just behind the window's length.
  for (const std::size_t distance :
       std::initializer_list<std::size_t>{1, 2, 4095, 4096, 4097, 5000, 65536, 65537}) {
    Bytes input = of_noise(150000, 256, 9);
    for (std::size_t at = distance; at < input.size(); ++at) input[at] = input[at - distance];
    inputs.push_back(std::move(input));
  }
  // Parts of different kinds, so that blocks of all kinds follow each other.
  Bytes parts;
  for (unsigned i = 0; i < 12; ++i) {
    const auto part = i % 3 == 0   ? of_text(90000, i)
                      : i % 3 == 1 ? of_noise(70000, 256, i)
                                   : Bytes(50000, std::byte{5});
    parts.insert(parts.end(), part.begin(), part.end());
  }
  inputs.push_back(std::move(parts));
  for (const auto& input : inputs) {
    const auto stream = encoder.encode(input, input.size() + 1000);
    ASSERT_FALSE(stream.empty()) << input.size();
    ASSERT_TRUE(inflated(stream, input.size()) == input) << input.size();
    // What was encoded before leaves no trace.
    EXPECT_TRUE(DeflateEncoder().encode(input, input.size() + 1000) == stream);
  }
}

TEST(DeflateEncoder, skewed_counts_stay_within_the_longest_codeword) {
  // Frequencies like Fibonacci's numbers make the deepest trees.
  Bytes input;
  std::size_t a = 1;
  std::size_t b = 1;
  for (int symbol = 0; symbol < 24; ++symbol) {
    input.insert(input.end(), a, static_cast<std::byte>(symbol));
    std::swap(a, b);
    b += a;
  }
  std::ranges::shuffle(input, std::mt19937(1));
  const auto stream = DeflateEncoder().encode(input, input.size());
  ASSERT_FALSE(stream.empty());
  EXPECT_TRUE(inflated(stream, input.size()) == input);
}

TEST(DeflateEncoder, a_stream_that_does_not_stay_below_the_limit_is_none) {
  DeflateEncoder encoder;
  const auto text = of_text(65536, 2);
  const auto stream = encoder.encode(text, text.size());
  ASSERT_FALSE(stream.empty());
  EXPECT_TRUE(encoder.encode(text, stream.size()).empty());
  EXPECT_EQ(encoder.encode(text, stream.size() + 1).size(), stream.size());
  EXPECT_TRUE(encoder.encode(of_noise(65536, 256, 1), 65536).empty());
}

TEST(DeflateEncoder, streams_are_hardly_longer_than_those_of_zlib) {
  DeflateEncoder encoder;
  for (const auto& input :
       {of_text(65536, 3), of_noise(65536, 3, 3), of_noise(65536, 100, 3), Bytes(65536)}) {
    const auto ours = encoder.encode(input, 65536).size();
    const auto theirs = deflate_cluster(input).size();
    EXPECT_LE(ours, theirs + theirs / 16 + 64);
  }
}

TEST(Huffman, codes_are_complete_and_within_their_limit) {
  std::mt19937 random(8);
  for (int i = 0; i < 500; ++i) {
    const std::size_t symbols = 2 + random() % (most_symbols - 1);
    const unsigned limit = symbols > 128 ? 15U : static_cast<unsigned>(7 + random() % 9);
    std::vector<std::uint32_t> frequencies(symbols);
    for (auto& f : frequencies) f = random() % 4 == 0 ? 0 : 1U << random() % 20;
    frequencies[0] = frequencies[symbols - 1] = 1;
    std::vector<std::uint8_t> lengths(symbols);
    code_lengths(frequencies, limit, lengths);
    std::uint64_t taken = 0;
    for (std::size_t s = 0; s < symbols; ++s) {
      ASSERT_EQ(lengths[s] == 0, frequencies[s] == 0);
      ASSERT_LE(lengths[s], limit);
      if (lengths[s] != 0) taken += 1ULL << (limit - lengths[s]);
    }
    ASSERT_EQ(taken, 1ULL << limit);
  }
}

TEST(ClusterEncoder, both_codecs_make_streams_that_are_shorter_than_the_cluster) {
  ClusterEncoder encoder;
  Decoder decoder;
  for (const auto codec : {Compression::deflate, Compression::zstd}) {
    const auto text = of_text(65536, 6);
    const auto stream = encoder.encode(codec, text);
    ASSERT_FALSE(stream.empty());
    ASSERT_LT(stream.size(), text.size());
    Bytes out(text.size());
    EXPECT_EQ(decoder.decode(codec, stream, out).status, Decoded::Status::ok);
    EXPECT_TRUE(out == text);
    EXPECT_TRUE(encoder.encode(codec, of_noise(65536, 256, 2)).empty());
  }
}

}  // namespace
}  // namespace cowvet::format
