// Every sound image of the corpus reads as its recipe says, whole and in odd parts, the snapshots too; and
// what can't be read is an error.
#include <algorithm>
#include <thread>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "corpus/builder/cases.hpp"
#include "tests/engine/images.hpp"

namespace cowvet::engine {
namespace {

using namespace testing_images;

constexpr std::uint64_t most = 8ULL << 20;  // bytes of a disk that are compared

// What the recipe says the layer holds from `at` on; `below` shows where nothing is allocated.
std::vector<std::byte> expected(const corpus::Layer& layer, const format::Geometry& geometry,
                                std::uint64_t at, std::size_t length, const Disk* below) {
  std::vector<std::byte> out(length);
  if (below != nullptr && at < below->size())
    must(below->read(base::GuestOffset{at},
                     base::MutableBytes(out).first(std::min<std::size_t>(length, below->size() - at))));
  const std::uint64_t piece_size = geometry.subcluster_size();
  const std::uint32_t pieces = geometry.extended_l2() ? 32 : 1;
  const std::uint64_t first = at >> geometry.cluster_bits();
  const std::uint64_t last = length == 0 ? first : (at + length - 1) >> geometry.cluster_bits();
  // For each piece, the last statement that covers it counts.
  for (const auto& w : layer.writes) {
    std::vector<std::byte> cluster(geometry.cluster_size());
    for (std::uint64_t c = std::max(first, w.range.first); c <= std::min(last, w.range.last); ++c) {
      corpus::fill_content(w.content, c, w.generation, cluster);
      for (std::uint32_t p = 0; p < pieces; ++p) {
        const std::uint64_t begin = (c << geometry.cluster_bits()) + p * piece_size;
        for (std::uint64_t i = std::max(at, begin); i < std::min(at + length, begin + piece_size); ++i) {
          const bool covered = pieces == 1 || (w.allocated >> p & 1) != 0;
          std::byte value{};
          if (w.what == corpus::Written::What::data) {
            if (covered) value = cluster[i & (geometry.cluster_size() - 1)];
          }
          if (w.what == corpus::Written::What::unallocated && below != nullptr && i < below->size())
            value = PatternDisk::at(i);
          out[i - at] = value;
        }
      }
    }
  }
  return out;
}

class Corpus : public testing::TestWithParam<corpus::Case> {};

TEST_P(Corpus, reads_as_the_recipe_says) {
  const auto built = must(corpus::build_case(GetParam()));
  if (built.file.size() > most) GTEST_SKIP() << "too large for memory";
  storage::MemoryDevice device(built.file.bytes());
  std::optional<storage::MemoryDevice> data;
  if (built.data_file) data.emplace(built.data_file->bytes());
  OpenOptions options;
  options.data_file = data ? &*data : nullptr;
  const auto disk = must(Qcow2Disk::open(device, options));
  if (disk->header().v2.crypt_method != 0) {
    // The corpus does not encrypt: without a key there is an error, and no data.
    std::vector<std::byte> sector(512);
    bool refused = false;
    for (std::uint64_t at = 0; at + 512 <= disk->size() && !refused; at += 512)
      refused = !disk->read(base::GuestOffset{at}, sector);
    EXPECT_TRUE(refused || disk->size() == 0);
    return;
  }
  ASSERT_EQ(disk->size(), built.active.size);
  const auto length = static_cast<std::size_t>(std::min(disk->size(), most));
  std::vector<std::byte> bytes(length);
  must(disk->read(base::GuestOffset{0}, bytes));
  EXPECT_TRUE(bytes == expected(built.active, disk->geometry(), 0, length, nullptr));
  for (std::size_t at = 0, step = 1; at + step < length; at += step, step = step * 3 + 1) {
    std::vector<std::byte> part(step);
    must(disk->read(base::GuestOffset{at}, part));
    EXPECT_TRUE(std::ranges::equal(part, base::ConstBytes(bytes).subspan(at, step))) << at;
  }
  ASSERT_EQ(disk->snapshots().size(), built.snapshots.size());
  for (std::size_t i = 0; i < built.snapshots.size(); ++i) {
    const auto snapshot = must(disk->snapshot_disk(disk->snapshots()[i].id));
    ASSERT_EQ(snapshot->size(), built.snapshots[i].size);
    const auto part = static_cast<std::size_t>(std::min(snapshot->size(), most));
    std::vector<std::byte> old(part);
    must(snapshot->read(base::GuestOffset{0}, old));
    EXPECT_TRUE(old == expected(built.snapshots[i], disk->geometry(), 0, part, nullptr));
  }
  // Extents tile the disk and agree with the content.
  for (std::uint64_t at = 0; at < length;) {
    const auto extent = must(disk->extent(base::GuestOffset{at}, length - at));
    ASSERT_GE(extent.length, 1U);
    ASSERT_LE(extent.length, length - at);
    const auto part = base::ConstBytes(bytes).subspan(at, extent.length);
    if (!extent.data) {
      EXPECT_TRUE(base::all_zero(part));
    } else if (extent.host && !data) {
      EXPECT_TRUE(std::ranges::equal(
          part, base::ConstBytes(device.bytes()).subspan(extent.host->raw(), part.size())));
    }
    at += extent.length;
  }
}

TEST_P(Corpus, shows_the_backing_file_where_nothing_is_allocated) {
  const auto built = must(corpus::build_case(GetParam()));
  if (built.file.size() > most || built.active.size > most) GTEST_SKIP() << "too large for memory";
  storage::MemoryDevice device(built.file.bytes());
  std::optional<storage::MemoryDevice> data;
  if (built.data_file) data.emplace(built.data_file->bytes());
  for (const std::uint64_t size : {built.active.size * 2, built.active.size / 2 / 512 * 512}) {
    OpenOptions options;
    options.data_file = data ? &*data : nullptr;
    options.backing = std::make_shared<PatternDisk>(size);
    const auto disk = must(Qcow2Disk::open(device, options));
    // The corpus does not remember which of the other subclusters are zeros: tests/engine/model_test.cpp does.
    if (disk->header().v2.crypt_method != 0 || disk->geometry().extended_l2()) return;
    EXPECT_TRUE(content(*disk) ==
                expected(built.active, disk->geometry(), 0, disk->size(), options.backing.get()));
  }
}

INSTANTIATE_TEST_SUITE_P(good, Corpus,
                         testing::ValuesIn(corpus::list_cases(corpus::corpus_directory(), "good/")),
                         [](const auto& tested) { return tested.param.name; });

TEST(Read, serves_several_threads_at_once) {
  const auto built = build("image size=4M cluster_size=4K\ncompressed 0..511\ndata 512..700\n");
  storage::MemoryDevice device(built.file.bytes());
  const auto disk = must(Qcow2Disk::open(device, {.cache_bytes = 8192}));
  const auto wanted = content(*disk);
  std::vector<std::jthread> threads;
  threads.reserve(4);
  std::atomic<int> wrong = 0;
  for (unsigned t = 0; t < 4; ++t)
    threads.emplace_back([&, t] {
      std::vector<std::byte> bytes(10000);
      for (std::uint64_t at = t * 1000; at + bytes.size() < disk->size(); at += 7777)
        if (!disk->read(base::GuestOffset{at}, bytes) ||
            !std::ranges::equal(bytes, base::ConstBytes(wanted).subspan(at, bytes.size())))
          ++wrong;
    });
  threads.clear();
  EXPECT_EQ(wrong, 0);
}

// Decoded clusters are kept for small reads: not longer than they are true.
TEST(Read, parts_of_a_compressed_cluster_follow_what_is_written_in_its_place) {
  const auto built = build("image size=4M cluster_size=4K\n");
  storage::MemoryDevice device(built.file.bytes());
  const auto disk = must(Qcow2Disk::open(device, {.writable = true}));
  const std::uint64_t cs = disk->geometry().cluster_size();
  for (const auto fill : {std::byte{1}, std::byte{2}, std::byte{3}}) {
    must(disk->write_compressed(base::GuestOffset{0}, std::vector<std::byte>(cs, fill)));
    std::vector<std::byte> part(100);
    for (const std::uint64_t at : {0U, 1000U, 500U}) {
      must(disk->read(base::GuestOffset{at}, part));
      EXPECT_EQ(part, std::vector<std::byte>(100, fill));
    }
    must(disk->flush());
    must(disk->discard(base::GuestOffset{0}, cs));  // the next stream may lie where this one does
    must(disk->flush());
  }
}

// An error that names what is wrong, and no zeros in its stead.
void refuses(std::string_view recipe, std::string_view part) {
  const auto built = build(recipe);
  storage::MemoryDevice device(built.file.bytes());
  const auto disk = Qcow2Disk::open(device, {});
  if (!disk) {
    EXPECT_NE(disk.error().message.find(part), std::string::npos) << disk.error().message;
    return;
  }
  std::vector<std::byte> bytes((*disk)->size());
  const auto read = (*disk)->read(base::GuestOffset{0}, bytes);
  ASSERT_FALSE(read) << recipe;
  EXPECT_NE(read.error().message.find(part), std::string::npos) << read.error().message;
}

TEST(Read, refuses_what_would_be_a_guess) {
  refuses("image\ndata 0\ndamage:\nset header.version = 1", "version");
  refuses("image\ndata 0\ndamage:\nset header.cluster_bits = 8", "cluster_bits");
  refuses("image\ndata 0\ndamage:\nset header.incompatible_features |= 0x20", "bit 5");
  refuses("image\ndata 0\ndamage:\nset header.crypt_method = 3", "crypt_method");
  refuses("image\ndata 0\ndamage:\nset header.l1_size = 0", "L1 table");
  refuses("image\ndata 0\ndamage:\nset header.size = 0x8000000000000000", "size");
  refuses("image\ndata 0\ndamage:\nset l1[0] += 512", "unaligned");
  refuses("image\ndata 0\ndamage:\nset l1[0].offset = 0x10000000", "end");
  refuses("image\ndata 0\ndamage:\nset l2[0][0].offset += 512", "unaligned");
  refuses("image\ndata 0\ndamage:\nset l2[0][0].offset = 0x10000000", "end");
  refuses("image version=2\ndata 0\ndamage:\nset l2[0][0] |= 1", "version 2");
  refuses("image\ncompressed 0\ndamage:\nfill @data[0] for 20 with 0xff", "compressed");
  refuses("image extended_l2\nsubclusters 0 allocated=0\ndamage:\nset l2[0][0].subclusters.zero = 1", "both");
}

}  // namespace
}  // namespace cowvet::engine
