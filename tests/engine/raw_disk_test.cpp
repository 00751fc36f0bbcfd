// A raw image as a disk: what is done to its file, byte for byte.
#include "engine/raw_disk.hpp"

#include <gtest/gtest.h>

#include "storage/recorder.hpp"
#include "tests/engine/images.hpp"
#include "tests/storage/temporary.hpp"

namespace cowvet::engine {
namespace {

using testing_images::content;
using testing_images::must;

class ChangedRawDisk : public testing::Test {
 protected:
  std::vector<storage::Event::Kind> done() const {
    std::vector<storage::Event::Kind> kinds;
    for (const auto& event : recorder_.events()) kinds.push_back(event.kind);
    return kinds;
  }

  std::vector<std::byte> expected_ = tests::pattern(10'240, 1);
  storage::MemoryDevice file_{expected_};
  storage::Recorder recorder_{file_};
  std::unique_ptr<Disk> disk_ = open_raw(recorder_, true);
};

TEST_F(ChangedRawDisk, KeepsItsSpaceWhenZeroedWithoutUnmapping) {
  must(disk_->zero(base::GuestOffset{700}, 3000, Unmap::no));
  std::fill_n(expected_.begin() + 700, 3000, std::byte{0});
  EXPECT_EQ(content(*disk_), expected_);
  EXPECT_EQ(done(), (std::vector{storage::Event::Kind::zero}));
}

TEST_F(ChangedRawDisk, GivesSpaceBackWhenZeroedWithUnmapping) {
  must(disk_->zero(base::GuestOffset{700}, 3000, Unmap::yes));
  std::fill_n(expected_.begin() + 700, 3000, std::byte{0});
  EXPECT_EQ(content(*disk_), expected_);
  EXPECT_EQ(done(), (std::vector{storage::Event::Kind::discard}));
}

TEST_F(ChangedRawDisk, KeepsItsLengthWhateverIsZeroed) {
  must(disk_->zero(base::GuestOffset{9000}, 1240, Unmap::no));
  must(disk_->zero(base::GuestOffset{9000}, 1240, Unmap::yes));
  must(disk_->discard(base::GuestOffset{0}, 512));
  EXPECT_EQ(file_.size(), 10'240U);
  EXPECT_FALSE(disk_->zero(base::GuestOffset{10'000}, 241, Unmap::no));
}

TEST(RawDisk, OfOddLengthIsZeroedUpToTheFilesEnd) {
  storage::MemoryDevice file(tests::pattern(1000, 1));
  const auto disk = open_raw(file, true);
  ASSERT_EQ(disk->size(), 1024U);
  must(disk->zero(base::GuestOffset{600}, 424, Unmap::no));
  EXPECT_EQ(file.size(), 1000U);
  EXPECT_EQ(content(*disk), [] {
    auto bytes = tests::pattern(1000, 1);
    bytes.resize(600);
    bytes.resize(1024);
    return bytes;
  }());
}

}  // namespace
}  // namespace cowvet::engine
