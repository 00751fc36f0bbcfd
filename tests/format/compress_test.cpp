// Streams of every shape that a recipe can ask for decode to the cluster that went in.
#include "format/compress.hpp"

#include <vector>

#include <gtest/gtest.h>

#include "format/compression.hpp"

namespace cowvet::format {
namespace {

std::vector<std::byte> cluster() {
  std::vector<std::byte> out(65536);
  for (std::size_t i = 0; i < out.size(); ++i) out[i] = static_cast<std::byte>(i % 251 ^ i / 4096);
  return out;
}

Decoded decoded(Compression codec, const std::vector<std::byte>& stream, std::vector<std::byte>& out) {
  out.assign(65536, std::byte{0});
  return Decoder().decode(codec, stream, out);
}

TEST(Compress, deflates_with_every_window) {
  std::vector<std::byte> out;
  for (int window = 9; window <= 15; ++window) {
    const auto stream = deflate_cluster(cluster(), {.window_bits = window});
    EXPECT_EQ(decoded(Compression::deflate, stream, out).status, Decoded::Status::ok) << window;
    EXPECT_EQ(out, cluster()) << window;
  }
}

TEST(Compress, wraps_a_stream_as_zlib_does) {
  std::vector<std::byte> out;
  const auto stream = deflate_cluster(cluster(), {.zlib_wrapper = true});
  EXPECT_TRUE(looks_like_zlib(stream));
  EXPECT_NE(decoded(Compression::deflate, stream, out).status, Decoded::Status::ok);
}

TEST(Compress, makes_zstd_frames_of_every_shape) {
  std::vector<std::byte> out;
  for (const ZstdShape& shape :
       {ZstdShape{}, ZstdShape{.frames = 3}, ZstdShape{.checksum = true}, ZstdShape{.content_size = false},
        ZstdShape{.skippable_first = true}, ZstdShape{.window_log = 20},
        ZstdShape{.frames = 4, .checksum = true, .window_log = 18}}) {
    const auto stream = zstd_cluster(cluster(), shape);
    EXPECT_EQ(decoded(Compression::zstd, stream, out).status, Decoded::Status::ok);
    EXPECT_EQ(out, cluster());
  }
}

TEST(Compress, claims_a_window_of_any_size) {
  std::vector<std::byte> out;
  const auto stream = zstd_cluster(cluster(), {.window_log = 31});
  EXPECT_EQ(decoded(Compression::zstd, stream, out).status, Decoded::Status::window_too_big);
}

// What zstd accepts of a damaged stream depends on the buffer it kept; a decoder must not show it.
TEST(Decoder, judges_a_damaged_stream_alike_whatever_it_read_before) {
  // A frame of 0x5555 bytes by its header, with blocks of more: 19 raw bytes, then runs of 16448.
  std::vector<std::byte> damaged;
  for (const int b : {0x28, 0xb5, 0x2f, 0xfd, 0x60, 0x55, 0x54, 0x98, 0x00, 0x00})
    damaged.push_back(std::byte(b));
  damaged.resize(damaged.size() + 64, std::byte{2});
  const auto wide = zstd_cluster(cluster(), {.content_size = false, .window_log = 20});
  std::vector<std::byte> out(65536);

  const auto alone = Decoder().decode(Compression::zstd, damaged, out);
  Decoder used;
  (void)used.decode(Compression::zstd, wide, out);
  for (int i = 0; i < 300; ++i) {
    const auto again = used.decode(Compression::zstd, damaged, out);
    ASSERT_EQ(again.status, alone.status) << i;
    ASSERT_EQ(again.produced, alone.produced) << i;
  }
}

TEST(Compress, guards_the_content_with_a_checksum) {
  std::vector<std::byte> out;
  auto stream = zstd_cluster(cluster(), {.checksum = true});
  stream.back() ^= std::byte{1};
  EXPECT_EQ(decoded(Compression::zstd, stream, out).status, Decoded::Status::checksum);
}

}  // namespace
}  // namespace cowvet::format
