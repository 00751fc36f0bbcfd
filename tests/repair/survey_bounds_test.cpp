// What file systems that lead in circles cost: the survey reads no more than a sound one would make it read.
#include <algorithm>
#include <array>
#include <vector>

#include <gtest/gtest.h>

#include "repair/guest_survey.hpp"

namespace cowvet::repair {
namespace {

using Bytes = std::vector<std::byte>;

// A disk of zeros but for what is put on it, which counts what is read, and ends to serve when that is too much.
class Counted final : public GuestReader {
 public:
  Counted(std::uint64_t size, std::uint64_t most) : bytes_(static_cast<std::size_t>(size)), most_(most) {}
  [[nodiscard]] std::uint64_t size() const override { return bytes_.size(); }
  [[nodiscard]] std::uint64_t unit() const override { return 4096; }
  [[nodiscard]] bool read(std::uint64_t offset, base::MutableBytes into) const override {
    read_ += into.size();
    if (read_ > most_ || offset > bytes_.size() || into.size() > bytes_.size() - offset) return false;
    std::copy_n(bytes_.begin() + static_cast<std::ptrdiff_t>(offset), into.size(), into.begin());
    return true;
  }
  void put(std::uint64_t at, std::uint64_t value, unsigned width) {  // little endian
    for (unsigned i = 0; i < width; ++i)
      bytes_[static_cast<std::size_t>(at + i)] = static_cast<std::byte>(value >> (8 * i) & 0xff);
  }
  void survey() {
    Expectations expected({{0, size()}});
    survey_guest(*this, expected);
  }
  [[nodiscard]] std::uint64_t bytes_read() const { return read_; }
  [[nodiscard]] std::uint64_t most() const { return most_; }

 private:
  Bytes bytes_;
  std::uint64_t most_;
  mutable std::uint64_t read_ = 0;
};

TEST(SurveyBounds, a_circle_of_a_fat_is_gone_through_once) {
  constexpr std::uint64_t sector = 4096, cluster = 128 * sector, root = 2 * sector, data = 3 * sector;
  Counted disk(data + 8 * cluster, 32 * cluster);
  disk.put(0, 0x903ceb, 3);
  disk.put(0x0b, sector, 2);
  disk.put(0x0d, 128, 1);          // sectors of a cluster
  disk.put(0x0e, 1, 2);            // the table begins behind one
  disk.put(0x10, 1, 1);            // table
  disk.put(0x11, sector / 32, 2);  // entries of the root directory
  disk.put(0x13, (data + 8 * cluster) / sector, 2);
  disk.put(0x15, 0xf8, 1);
  disk.put(0x16, 1, 2);  // sector of the table
  disk.put(510, 0xaa55, 2);
  disk.put(sector + 3, 0x002003, 3);  // clusters 2 and 3 follow each other
  disk.put(root, 0x41, 1);
  disk.put(root + 11, 0x10, 1);  // a directory
  disk.put(root + 26, 2, 2);
  disk.survey();
  EXPECT_GT(disk.bytes_read(), 2 * cluster);
  EXPECT_LE(disk.bytes_read(), disk.most());
}

TEST(SurveyBounds, extents_that_lead_to_themselves_are_read_so_often_and_no_more) {
  constexpr std::uint64_t block = 4096, super = 1024, descriptors = block, inodes = 4 * block,
                          tree = 8 * block;
  Counted disk(64 * block, 128ULL << 20);
  disk.put(super + 0x04, 64, 4);  // blocks
  disk.put(super + 0x18, 2, 4);   // of 4 KiB
  disk.put(super + 0x20, 64, 4);  // in a group
  disk.put(super + 0x28, 16, 4);  // inodes
  disk.put(super + 0x38, 0xef53, 2);
  disk.put(super + 0x4c, 1, 4);
  disk.put(super + 0x58, 256, 2);  // bytes of an inode
  disk.put(descriptors, 2, 4);
  disk.put(descriptors + 4, 3, 4);
  disk.put(descriptors + 8, 4, 4);
  disk.put(3 * block, 0x800, 2);  // inode 12 is in use
  const std::uint64_t inode = inodes + 11 * 256;
  disk.put(inode, 0x8000, 2);
  disk.put(inode + 0x20, 0x80000, 4);
  const auto node = [&](std::uint64_t at, unsigned entries) {
    disk.put(at, 0xf30a, 2);
    disk.put(at + 2, entries, 2);
    disk.put(at + 6, 1, 2);  // of a depth that never ends
    for (unsigned i = 1; i <= entries; ++i) disk.put(at + 12 * i + 4, tree / block, 4);
  };
  node(inode + 0x28, 4);
  node(tree, 340);
  disk.survey();
  EXPECT_GT(disk.bytes_read(), 1ULL << 20);
  EXPECT_LE(disk.bytes_read(), disk.most());
}

}  // namespace
}  // namespace cowvet::repair
