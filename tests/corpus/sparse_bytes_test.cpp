// A sparse file in memory behaves like a plain array of bytes, and costs nothing where nothing was written.
#include "corpus/builder/sparse_bytes.hpp"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <vector>

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "tests/corpus/qemu.hpp"

namespace cowvet::corpus {
namespace {

RC_GTEST_PROP(SparseBytes, behaves_like_an_array, ()) {
  constexpr std::size_t limit = 5 * SparseBytes::page_size;
  SparseBytes sparse;
  std::vector<std::byte> plain;
  SparseBytes copy;
  std::vector<std::byte> plain_copy;
  const auto steps = *rc::gen::inRange(1, 30);
  for (int i = 0; i < steps; ++i) {
    const auto offset = *rc::gen::inRange<std::size_t>(0, limit);
    const auto length = *rc::gen::inRange<std::size_t>(0, limit);
    const auto value = static_cast<std::byte>(*rc::gen::inRange(0, 256));
    auto room = [&] { plain.resize(std::max(plain.size(), offset + length)); };
    const auto from = static_cast<std::ptrdiff_t>(offset);
    switch (*rc::gen::inRange(0, 5)) {
      case 0: {
        const std::vector<std::byte> bytes(length, value);
        sparse.write(offset, bytes);
        room();
        std::ranges::copy(bytes, plain.begin() + from);
        break;
      }
      case 1:
        sparse.fill(offset, length, value);
        room();
        std::fill_n(plain.begin() + from, length, value);
        break;
      case 2:
        sparse.punch(offset, length);
        room();
        std::fill_n(plain.begin() + from, length, std::byte{0});
        break;
      case 3:
        sparse.resize(offset);
        plain.resize(offset);
        break;
      default:
        copy = sparse;  // must stay as it is, whatever follows
        plain_copy = plain;
    }
    RC_ASSERT(sparse.bytes() == plain);
    RC_ASSERT(copy.bytes() == plain_copy);
  }
}

TEST(SparseBytes, keeps_big_endian_words_across_pages) {
  SparseBytes file;
  file.store(4092, 8, 0x0102030405060708);
  EXPECT_EQ(file.load(4092, 8), 0x0102030405060708U);
  EXPECT_EQ(file.load(4095, 2), 0x0405U);
}

TEST(SparseBytes, has_holes_where_nothing_was_written) {
  SparseBytes file;
  file.resize(1ULL << 40);
  file.fill(1ULL << 39, 10000, std::byte{1});
  file.punch((1ULL << 39) + 4096, 4096);
  using Extents = std::vector<SparseBytes::Extent>;
  EXPECT_EQ(file.extents(), (Extents{{1ULL << 39, 4096}, {(1ULL << 39) + 8192, 4096}}));
}

TEST(SparseBytes, is_saved_with_its_holes) {
  const testing::Workshop shop;
  SparseBytes file;
  file.fill(1ULL << 30, 3, std::byte{7});
  file.resize((1ULL << 40) + 1);
  ASSERT_TRUE(file.save(shop.path("file")));
  EXPECT_EQ(std::filesystem::file_size(shop.path("file")), (1ULL << 40) + 1);
  std::ifstream in(shop.path("file"), std::ios::binary);
  in.seekg(1LL << 30);
  EXPECT_EQ(in.get(), 7);
  EXPECT_LT(std::stoull(shop.run("du -k file").output), 64U);
  EXPECT_FALSE(file.save(shop.path("no/such/folder")));
}

}  // namespace
}  // namespace cowvet::corpus
