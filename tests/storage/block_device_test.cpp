// A real block device, made from a file by the loop driver. When that file is cut short, the device keeps its size and
// answers with I/O errors behind the cut: a disk with a bad end. Needs root and the loop driver, else skipped.
#include <algorithm>
#include <cerrno>

#include <fcntl.h>
#include <linux/fs.h>
#include <linux/loop.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <gtest/gtest.h>

#include "storage/file.hpp"
#include "tests/storage/temporary.hpp"

namespace cowvet::storage {
namespace {

using tests::Folder;
using tests::make_file;
using tests::pattern;

class BlockDevice : public testing::TestWithParam<Io> {
 protected:
  static constexpr std::uint64_t size = 1024 * 1024;

  void SetUp() override {
    make_file(folder_ / "disk", size, {{0, bytes_}});
    const int control = ::open("/dev/loop-control", O_RDWR | O_CLOEXEC);
    if (control < 0) GTEST_SKIP() << "no loop devices for us";
    const int number = ::ioctl(control, LOOP_CTL_GET_FREE);
    ::close(control);
    path_ = "/dev/loop" + std::to_string(number);
    loop_ = ::open(path_.c_str(), O_RDWR | O_CLOEXEC);
    if (number < 0 || loop_ < 0) GTEST_SKIP() << "no free loop device";
    loop_config config{};
    const int file = ::open((folder_ / "disk").c_str(), O_RDWR | O_CLOEXEC);
    config.fd = static_cast<unsigned>(file);
    config.info.lo_flags = LO_FLAGS_AUTOCLEAR;  // gone when the last descriptor is closed
    const bool made = ::ioctl(loop_, LOOP_CONFIGURE, &config) == 0;
    ::close(file);
    if (!made) GTEST_SKIP() << "the loop device can't be set up";
  }
  void TearDown() override {
    if (loop_ >= 0) ::close(loop_);
  }
  void cut(std::uint64_t to) {
    ASSERT_EQ(::truncate((folder_ / "disk").c_str(), static_cast<off_t>(to)), 0);
    ASSERT_EQ(::ioctl(loop_, BLKFLSBUF, 0), 0) << "the page cache still knows the good bytes";
  }
  [[nodiscard]] std::unique_ptr<Device> open(bool writable = false) const {
    auto device = open_file(path_, {.writable = writable, .io = GetParam()});
    if (!device) ADD_FAILURE() << device.error().message;
    return device ? std::move(*device) : nullptr;
  }

  // What lies before `good` was read, what lies behind it failed.
  void compare(const std::vector<ReadRequest>& batch, std::uint64_t good) const {
    for (const auto& request : batch) {
      const std::uint64_t readable =
          std::clamp<std::uint64_t>(good, request.offset, request.offset + 16384) - request.offset;
      EXPECT_EQ(request.valid, 16384);
      EXPECT_EQ(request.os_error, readable == 16384 ? 0 : EIO) << "at " << request.offset;
      if (readable != 16384) {
        EXPECT_EQ(request.bad_begin, readable);
        EXPECT_EQ(request.bad_end, 16384);
      }
      const auto length = static_cast<std::size_t>(readable);
      EXPECT_TRUE(std::ranges::equal(
          request.into.first(length),
          base::ConstBytes(bytes_).subspan(static_cast<std::size_t>(request.offset), length)));
      EXPECT_TRUE(base::all_zero(request.into.subspan(length)));
    }
  }

  Folder folder_;
  std::vector<std::byte> bytes_ = pattern(size, 1);
  std::string path_;
  int loop_ = -1;
};

INSTANTIATE_TEST_SUITE_P(All, BlockDevice, testing::Values(Io::posix, Io::uring),
                         [](const auto& each) { return each.param == Io::posix ? "posix" : "uring"; });

TEST_P(BlockDevice, HasItsSizeAndNoHoles) {
  if (!open_file(path_, {.io = GetParam()})) GTEST_SKIP() << "no io_uring here";
  const auto device = open(true);
  ASSERT_NE(device, nullptr);
  EXPECT_EQ(device->size(), size);
  EXPECT_EQ(device->allocated(), size);
  EXPECT_TRUE(device->is_block_device());
  EXPECT_FALSE(device->extent(5).hole);
  EXPECT_EQ(device->extent(5).end, size);
  ASSERT_TRUE(device->identity());
  EXPECT_EQ(device->identity()->size, size);

  std::vector<std::byte> into(8192);
  const auto request = device->read(size - 4096, into);
  EXPECT_EQ(request.valid, 4096);
  EXPECT_TRUE(std::ranges::equal(base::ConstBytes(into).first(4096), base::ConstBytes(bytes_).last(4096)));
  EXPECT_TRUE(device->write(100, pattern(100, 2)));
  EXPECT_TRUE(device->flush());
  ASSERT_FALSE(device->resize(4096));
  EXPECT_EQ(device->resize(4096).error().kind, base::ErrorKind::usage);
  EXPECT_FALSE(device->write(size, pattern(1, 1))) << "it does not grow";
  EXPECT_EQ(device->size(), size);
}

TEST_P(BlockDevice, ABadEndCostsOnlyItself) {
  if (!open_file(path_, {.io = GetParam()})) GTEST_SKIP() << "no io_uring here";
  constexpr std::uint64_t good = 512 * 1024;
  cut(good);
  const auto device = open();
  ASSERT_NE(device, nullptr);
  // Once neighbours, so that one access would serve the last good ones and the first bad ones, once apart.
  for (const std::uint64_t step : {16384U, 40960U}) {
    std::vector<std::vector<std::byte>> buffers(24, std::vector<std::byte>(16384, std::byte{0xee}));
    std::vector<ReadRequest> batch;
    for (std::size_t i = 0; i < buffers.size(); ++i)
      batch.push_back({.offset = good - 8192 - 12 * step + i * step, .into = buffers[i]});
    device->read(batch);
    compare(batch, good);
  }
}

}  // namespace
}  // namespace cowvet::storage
