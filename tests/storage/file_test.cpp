// The file device against a plain model of the same bytes, and what it refuses to open.
#include "storage/file.hpp"

#include <algorithm>
#include <csignal>
#include <cstring>
#include <random>
#include <thread>

#include <linux/magic.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/vfs.h>

#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <rapidcheck/gtest.h>

#include "tests/storage/temporary.hpp"

namespace cowvet::storage {
namespace {

using tests::Folder;
using tests::make_file;
using tests::pattern;
using tests::Piece;

std::unique_ptr<Device> must_open(const std::filesystem::path& path, const FileOptions& options = {}) {
  auto device = open_file(path, options);
  EXPECT_TRUE(device.has_value()) << (device ? "" : device.error().message);
  return device ? std::move(*device) : nullptr;
}

// What the file of some pieces holds.
std::vector<std::byte> model_of(std::uint64_t size, const std::vector<Piece>& pieces) {
  std::vector<std::byte> bytes(static_cast<std::size_t>(size));
  for (const auto& piece : pieces)
    std::ranges::copy(piece.bytes, bytes.begin() + static_cast<std::ptrdiff_t>(piece.offset));
  return bytes;
}

// A batch with buffers of its own, filled with rubbish so that a byte left alone is seen.
struct Batch {
  std::vector<std::vector<std::byte>> buffers;
  std::vector<ReadRequest> requests;

  explicit Batch(const std::vector<std::pair<std::uint64_t, std::size_t>>& ranges) {
    for (const auto& [offset, length] : ranges) {
      auto& buffer = buffers.emplace_back(length, std::byte{0xee});
      requests.push_back({.offset = offset, .into = buffer});
    }
  }
  void compare(const std::vector<std::byte>& model) const {
    for (const auto& request : requests) {
      const std::uint64_t there = request.offset < model.size() ? model.size() - request.offset : 0;
      ASSERT_EQ(request.valid, std::min<std::uint64_t>(there, request.into.size()))
          << "at " << request.offset;
      ASSERT_EQ(request.os_error, 0);
      for (std::size_t i = 0; i < request.into.size(); ++i)
        ASSERT_EQ(request.into[i],
                  i < request.valid ? model[static_cast<std::size_t>(request.offset) + i] : std::byte{0})
            << "byte " << i << " of the request at " << request.offset << (request.hole ? " (hole)" : "");
    }
  }
};

class FileDeviceIo : public testing::TestWithParam<Io> {};

INSTANTIATE_TEST_SUITE_P(All, FileDeviceIo, testing::Values(Io::automatic, Io::posix, Io::uring),
                         [](const auto& each) {
                           return each.param == Io::posix   ? "posix"
                                  : each.param == Io::uring ? "uring"
                                                            : "automatic";
                         });

TEST_P(FileDeviceIo, RandomBatchesReadWhatTheFileHolds) {
  if (!open_file("/proc/self/exe", {.io = GetParam()})) GTEST_SKIP() << "no io_uring here";
  const Folder folder;
  rc::check([&] {
    const auto size = *rc::gen::inRange<std::uint64_t>(0, 3'000'000);
    std::vector<Piece> pieces;
    for (int i = *rc::gen::inRange(0, 6); i > 0 && size > 0; --i) {
      const auto at = *rc::gen::inRange<std::uint64_t>(0, size);
      const auto length = std::min<std::uint64_t>(*rc::gen::inRange<std::uint64_t>(1, 200'000), size - at);
      pieces.push_back({at, pattern(static_cast<std::size_t>(length), at)});
    }
    make_file(folder / "image", size, pieces);
    const auto model = model_of(size, pieces);
    const auto device = must_open(folder / "image", {.io = GetParam()});
    RC_ASSERT(device->size() == size);

    const auto ranges = *rc::gen::container<std::vector<std::pair<std::uint64_t, std::size_t>>>(rc::gen::pair(
        rc::gen::inRange<std::uint64_t>(0, size + 10'000),
        rc::gen::oneOf(rc::gen::inRange<std::size_t>(0, 5000), rc::gen::inRange<std::size_t>(0, 300'000))));
    Batch batch(ranges);
    device->read(batch.requests);
    batch.compare(model);
    RC_ASSERT(!testing::Test::HasFatalFailure());
  });
}

TEST_P(FileDeviceIo, HugeBatchOfNeighboursInAnyOrder) {
  if (!open_file("/proc/self/exe", {.io = GetParam()})) GTEST_SKIP() << "no io_uring here";
  const Folder folder;
  const std::vector<Piece> pieces{{0, pattern(4'000'000, 1)}};
  make_file(folder / "image", 4'000'000, pieces);
  const auto device = must_open(folder / "image", {.io = GetParam()});
  std::vector<std::pair<std::uint64_t, std::size_t>> ranges;
  for (std::uint64_t i = 0; i < 3000; ++i) ranges.emplace_back(i * 1333, i % 7 == 0 ? 1333 : 900);
  std::ranges::shuffle(ranges, std::mt19937(7));
  Batch batch(ranges);
  device->read(batch.requests);
  batch.compare(model_of(4'000'000, pieces));
}

TEST_P(FileDeviceIo, HolesAreKnownWithoutReading) {
  if (!open_file("/proc/self/exe", {.io = GetParam()})) GTEST_SKIP() << "no io_uring here";
  const Folder folder;
  const std::uint64_t size = std::uint64_t{1} << 40;
  const std::vector<Piece> pieces{{0, pattern(65536, 1)}, {std::uint64_t{1} << 39, pattern(65536, 2)}};
  make_file(folder / "image", size, pieces);
  const auto device = must_open(folder / "image", {.io = GetParam()});
  EXPECT_LT(device->allocated(), 1024 * 1024);

  Batch batch({{0, 65536},
               {65536, 65536},
               {1U << 30U, 65536},
               {(std::uint64_t{1} << 39) - 4096, 8192},
               {size - 100, 4096}});
  device->read(batch.requests);
  EXPECT_FALSE(batch.requests[0].hole);
  EXPECT_TRUE(batch.requests[1].hole);
  EXPECT_TRUE(batch.requests[2].hole);
  EXPECT_FALSE(batch.requests[3].hole) << "half of it is data";
  EXPECT_TRUE(batch.requests[4].hole);
  EXPECT_EQ(batch.requests[4].valid, 100);
  EXPECT_EQ(batch.buffers[0], pieces[0].bytes);
  for (const std::size_t i : {1U, 2U, 4U}) EXPECT_TRUE(base::all_zero(batch.buffers[i]));
  EXPECT_TRUE(base::all_zero(base::ConstBytes(batch.buffers[3]).first(4096)));
  EXPECT_TRUE(std::ranges::equal(base::ConstBytes(batch.buffers[3]).last(4096),
                                 base::ConstBytes(pieces[1].bytes).first(4096)));

  // The extents tile the file; data is exactly where it was written (as file systems with 4 KiB blocks keep it).
  std::vector<Extent> data;
  std::uint64_t at = 0;
  while (at < size) {
    const auto extent = device->extent(at);
    ASSERT_LE(extent.begin, at);
    ASSERT_GT(extent.end, at);
    ASSERT_LE(extent.end, size);
    if (!extent.hole) data.push_back({at, extent.end, false});
    at = extent.end;
  }
  ASSERT_EQ(data.size(), 2);
  EXPECT_EQ(data[0].end, 65536);
  EXPECT_EQ(data[1].begin, std::uint64_t{1} << 39);
  EXPECT_EQ(data[1].end, (std::uint64_t{1} << 39) + 65536);
}

TEST_P(FileDeviceIo, ThreadsReadAtOnce) {
  if (!open_file("/proc/self/exe", {.io = GetParam()})) GTEST_SKIP() << "no io_uring here";
  const Folder folder;
  std::vector<Piece> pieces;
  for (std::uint64_t i = 0; i < 64; ++i) pieces.push_back({i * 262144, pattern(65536, i)});
  const std::uint64_t size = 64 * 262144;
  make_file(folder / "image", size, pieces);
  const auto model = model_of(size, pieces);
  const auto device = must_open(folder / "image", {.io = GetParam()});
  const auto work = [&](unsigned seed) {
    std::mt19937 random(seed);
    for (int round = 0; round < 20; ++round) {
      std::vector<std::pair<std::uint64_t, std::size_t>> ranges;
      for (int i = 0; i < 40; ++i) ranges.emplace_back(random() % size, random() % 70'000);
      Batch batch(ranges);
      device->read(batch.requests);
      for (const auto& request : batch.requests)
        if (!std::ranges::equal(request.into.first(static_cast<std::size_t>(request.valid)),
                                base::ConstBytes(model).subspan(static_cast<std::size_t>(request.offset),
                                                                static_cast<std::size_t>(request.valid))))
          ADD_FAILURE() << "at " << request.offset;
    }
  };
  std::jthread one(work, 1U);
  std::jthread two(work, 2U);
  work(3);
}

TEST(FileDevice, OffsetsFarBehindTheEndAreZeros) {
  const Folder folder;
  make_file(folder / "image", 10, {{0, pattern(10, 1)}});
  const auto device = must_open(folder / "image");
  Batch batch({{UINT64_MAX, 512}, {INT64_MAX, 512}, {10, 1}, {5, 100}});
  device->read(batch.requests);
  batch.compare(pattern(10, 1));
}

TEST(FileDevice, AFileThatShrinksMeanwhileEndsEarly) {
  const Folder folder;
  make_file(folder / "image", 100'000, {{0, pattern(100'000, 1)}});
  const auto device = must_open(folder / "image");
  ASSERT_EQ(::truncate((folder / "image").c_str(), 30'000), 0);
  Batch batch({{20'000, 20'000}, {60'000, 10}, {0, 100}});
  device->read(batch.requests);
  auto shorter = pattern(100'000, 1);
  shorter.resize(30'000);
  batch.compare(shorter);
}

TEST(FileDevice, WritesResizesAndForgetsOldHoles) {
  const Folder folder;
  make_file(folder / "image", 1'000'000);
  const auto device = must_open(folder / "image", {.writable = true});
  std::vector<std::byte> into(4096);
  EXPECT_TRUE(device->read(8192, into).hole);
  ASSERT_TRUE(device->write(8192, pattern(4096, 3)));
  EXPECT_FALSE(device->read(8192, into).hole);
  EXPECT_EQ(into, pattern(4096, 3));
  EXPECT_FALSE(device->extent(8192).hole);

  ASSERT_TRUE(device->write(999'990, pattern(20, 4)));
  EXPECT_EQ(device->size(), 1'000'010);
  ASSERT_TRUE(device->resize(8200));
  EXPECT_EQ(device->size(), 8200);
  ASSERT_TRUE(device->resize(50'000));
  EXPECT_EQ(device->read(8190, into).valid, 4096);
  auto expected = std::vector<std::byte>(4096);
  std::ranges::copy(base::ConstBytes(pattern(4096, 3)).first(8), expected.begin() + 2);
  EXPECT_EQ(into, expected);
  EXPECT_TRUE(device->flush());
  EXPECT_EQ(std::filesystem::file_size(folder / "image"), 50'000);
}

TEST(FileDevice, ForgetsOldDataWhenItIsCutOff) {
  const Folder folder;
  make_file(folder / "image", 1'000'000, {{0, pattern(1'000'000, 1)}});
  const auto device = must_open(folder / "image", {.writable = true});
  EXPECT_FALSE(device->extent(500'000).hole);
  ASSERT_TRUE(device->resize(0));
  ASSERT_TRUE(device->resize(1'000'000));
  EXPECT_TRUE(device->extent(500'000).hole);
}

TEST(FileDevice, OpenedForReadingItWritesNothing) {
  const Folder folder;
  make_file(folder / "image", 100, {{0, pattern(100, 1)}});
  const auto device = must_open(folder / "image");
  for (const auto& result : {device->write(0, pattern(1, 2)), device->resize(7)}) {
    ASSERT_FALSE(result);
    EXPECT_EQ(result.error().kind, base::ErrorKind::usage);
  }
  EXPECT_TRUE(device->flush());
}

// Pages of the file that are in memory.
std::size_t cached_pages(const std::filesystem::path& path) {
  const auto size = static_cast<std::size_t>(std::filesystem::file_size(path));
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  void* const there = ::mmap(nullptr, size, PROT_READ, MAP_SHARED, fd, 0);
  ::close(fd);
  std::vector<unsigned char> pages((size + 4095) / 4096);
  if (there == MAP_FAILED || ::mincore(there, size, pages.data()) != 0) return SIZE_MAX;
  ::munmap(there, size);
  return static_cast<std::size_t>(std::ranges::count_if(pages, [](auto page) { return (page & 1U) != 0; }));
}

TEST(FileDevice, DropsFromMemoryWhatIsNotReadAgainAndKeepsItsContent) {
  const Folder folder;
  const auto path = folder / "image";
  const auto bytes = pattern(8 << 20, 3);
  make_file(path, bytes.size(), {{0, bytes}});
  const auto device = must_open(path, {.writable = true});
  ASSERT_TRUE(device->flush());
  struct statfs system{};
  ASSERT_EQ(::statfs(path.c_str(), &system), 0);
  const auto before = cached_pages(path);
  drop_cached(*device, 0, 0);  // nothing, and not all that follows
  EXPECT_EQ(cached_pages(path), before);
  drop_cached(*device, 4 << 20, 4 << 20);
  if (system.f_type != TMPFS_MAGIC) EXPECT_LE(cached_pages(path), before / 2 + 1);
  drop_cached(*device, UINT64_MAX, 1);
  std::vector<std::byte> read(bytes.size());
  EXPECT_EQ(device->read(0, read).valid, read.size());
  EXPECT_EQ(read, bytes);
}

TEST(FileDevice, AFailedWriteSaysWhy) {
  const Folder folder;
  make_file(folder / "image", 100);
  const auto device = must_open(folder / "image", {.writable = true});
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
  const auto old_handler = std::signal(SIGXFSZ, SIG_IGN);
  const rlimit small{8192, before.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &small), 0);
  const auto crossing = device->write(4096, pattern(8192, 1));
  const auto growing = device->resize(20'000);
  ::setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, old_handler);
  ASSERT_FALSE(crossing);
  EXPECT_EQ(crossing.error().os_error, EFBIG);
  EXPECT_EQ(crossing.error().kind, base::ErrorKind::io);
  EXPECT_NE(crossing.error().message.find("too large"), std::string::npos) << crossing.error().message;
  EXPECT_EQ(device->size(), 8192) << "what was written before the failure counts";
  ASSERT_FALSE(growing);
  EXPECT_FALSE(device->write(UINT64_MAX - 4, pattern(8, 1)));
  EXPECT_FALSE(device->resize(UINT64_MAX));
}

TEST(FileDevice, KnowsOneFileUnderTwoNames) {
  const Folder folder;
  make_file(folder / "image", 100);
  make_file(folder / "other", 100);
  std::filesystem::create_symlink("image", folder / "link");
  const auto image = must_open(folder / "image");
  EXPECT_EQ(image->identity(), must_open(folder / "link")->identity());
  EXPECT_NE(image->identity(), must_open(folder / "other")->identity());
  EXPECT_FALSE(image->is_block_device());
}

TEST(OpenFile, RefusesWhatIsNoImageFile) {
  const Folder folder;
  ASSERT_EQ(::mkfifo((folder / "pipe").c_str(), 0600), 0);
  std::filesystem::create_symlink("circle", folder / "circle");
  const int listening = ::socket(AF_UNIX, SOCK_STREAM, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strncpy(address.sun_path, (folder / "socket").c_str(), sizeof address.sun_path - 1);
  ASSERT_EQ(::bind(listening, reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);

  struct Case {
    std::filesystem::path path;
    base::ErrorKind kind;
    std::string says;
  };
  const Case cases[] = {
      {folder / "missing", base::ErrorKind::not_found, "no such file"},
      {folder / "missing/image", base::ErrorKind::not_found, "no such file"},
      {"", base::ErrorKind::not_found, "no such file"},
      {folder / "", base::ErrorKind::usage, "directory"},
      {folder / "pipe", base::ErrorKind::usage, "pipe"},
      {folder / "socket", base::ErrorKind::usage, "socket"},
      {folder / "circle", base::ErrorKind::io, "symbolic links"},
      {"/dev/null", base::ErrorKind::usage, "character device"},
      {"/dev/full", base::ErrorKind::usage, "character device"},
  };
  for (const auto& each : cases)
    for (const bool writable : {false, true}) {
      const auto device = open_file(each.path, {.writable = writable});
      ASSERT_FALSE(device) << each.path;
      EXPECT_EQ(device.error().kind, each.kind) << each.path;
      EXPECT_NE(device.error().message.find(each.says), std::string::npos) << device.error().message;
      EXPECT_NE(device.error().message.find(": "), std::string::npos) << "it says what to do";
    }
  ::close(listening);
}

TEST(OpenFile, SaysSoWhenPermissionIsMissing) {
  const Folder folder;
  make_file(folder / "image", 100);
  std::filesystem::permissions(folder / "image", std::filesystem::perms::none);
  const uid_t me = ::geteuid();
  std::filesystem::permissions(folder / "", std::filesystem::perms::all);
  if (me == 0 && ::seteuid(65534) != 0) GTEST_SKIP() << "root can't become somebody else here";
  const auto device = open_file(folder / "image");
  ASSERT_TRUE(me != 0 || ::seteuid(0) == 0);
  ASSERT_FALSE(device);
  EXPECT_EQ(device.error().kind, base::ErrorKind::io);
  EXPECT_EQ(device.error().os_error, EACCES);
  EXPECT_NE(device.error().message.find("permission denied: "), std::string::npos);
}

}  // namespace
}  // namespace cowvet::storage
