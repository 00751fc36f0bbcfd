// Undo with real files: names, holes, times of change, locks, and as much data as memory must not hold.
#include "repair/undo_files.hpp"

#include <chrono>
#include <filesystem>
#include <fstream>
#include <thread>

#include <sys/resource.h>
#include <sys/stat.h>

#include <gtest/gtest.h>

#include "repair/undo.hpp"
#include "storage/fault.hpp"
#include "storage/file.hpp"
#include "tests/repair/changes.hpp"

namespace cowvet::repair {
namespace {

using namespace testing_undo;
namespace fs = std::filesystem;

class UndoFiles : public testing::Test {
 protected:
  UndoFiles() {
    tests::make_file(folder_ / "disk.qcow2", 1 << 20,
                     {{0, pattern(70'000, 1)}, {900'000, pattern(100'000, 2)}});
  }

  [[nodiscard]] std::string image() const { return (folder_ / "disk.qcow2").string(); }
  [[nodiscard]] static std::unique_ptr<storage::Device> opened(const std::string& file) {
    auto device = storage::open_file(file, {.writable = true});
    if (!device) throw std::runtime_error(device.error().message);
    return std::move(*device);
  }
  [[nodiscard]] static Bytes content(const std::string& file) {
    const auto device = opened(file);
    Bytes bytes(device->size());
    device->read(0, bytes);
    return bytes;
  }
  [[nodiscard]] static std::vector<std::pair<std::uint64_t, std::uint64_t>> holes_of(
      const std::string& file) {
    const auto device = opened(file);
    std::vector<std::pair<std::uint64_t, std::uint64_t>> holes;
    for (std::uint64_t at = 0; at < device->size();) {
      const auto extent = device->extent(at);
      if (extent.hole) holes.emplace_back(at, extent.end);
      at = extent.end;
    }
    return holes;
  }
  void apply_to(const std::string& image, const std::string& undo_file, const KnownChange& change) const {
    const auto device = opened(image);
    storage::Overlay wanted(*device);
    change.make(wanted);
    base::Progress progress;
    const auto applied = apply_to_file(image, *device, wanted, undo_file, "a test", progress);
    if (!applied) throw std::runtime_error(applied.error().message);
  }
  static base::Result<Undone> undo_with(const std::string& image, const std::string& undo_file,
                                        Force force = Force::no) {
    return take_back(*opened(image), *opened(undo_file), force);
  }
  [[nodiscard]] static UndoInfo info_of(const std::string& undo_file) {
    base::Progress progress;
    const auto info = read_undo(*opened(undo_file), progress);
    if (!info) throw std::runtime_error(info.error().message);
    return *info;
  }

  tests::Folder folder_;
  const KnownChange change_{
      "mixed", {}, {{100, pattern(1000, 3)}, {300'001, pattern(70'000, 4)}, {1'500'000, pattern(10, 5)}}};
};

TEST_F(UndoFiles, give_back_bytes_length_and_holes) {
  const auto before = content(image());
  const auto holes = holes_of(image());
  const auto taken = opened(image())->allocated();
  const auto undo_file = *new_undo_file(image());
  EXPECT_EQ(undo_file, image() + ".cowvet-undo");
  apply_to(image(), undo_file, change_);
  EXPECT_GT(opened(image())->allocated(), taken);
  EXPECT_EQ(opened(image())->size(), 1'500'010U);
  ASSERT_TRUE(undo_with(image(), undo_file));
  EXPECT_EQ(content(image()) == before, true);
  EXPECT_EQ(holes_of(image()), holes) << "holes are holes again";
  EXPECT_LE(opened(image())->allocated(), taken + 4096) << "the file system may keep a block of its own";
  EXPECT_TRUE(undo_with(image(), undo_file)->already);
}

// A terabyte of nothing is cut off, and comes back, without being looked at.
TEST_F(UndoFiles, of_a_long_hole_are_short) {
  const auto file = (folder_ / "long").string(), undo_file = (folder_ / "undo").string();
  tests::make_file(file, 1ULL << 40, {{0, pattern(1000, 1)}, {(1ULL << 39) + 7, pattern(10, 2)}});
  apply_to(file, undo_file, {"cut", {}, {{4096, {}}}});
  EXPECT_EQ(fs::file_size(file), 4096U);
  EXPECT_LT(fs::file_size(undo_file), 64'000U);
  ASSERT_TRUE(undo_with(file, undo_file));
  EXPECT_EQ(fs::file_size(file), 1ULL << 40);
  Bytes bytes(10);
  opened(file)->read((1ULL << 39) + 7, bytes);
  EXPECT_EQ(bytes, pattern(10, 2));
}

TEST_F(UndoFiles, are_named_beside_the_image_and_counted) {
  apply_to(image(), *new_undo_file(image()), change_);
  EXPECT_EQ(*new_undo_file(image()), image() + ".cowvet-undo.2");
  apply_to(image(), *new_undo_file(image()), {"more", {}, {{5000, pattern(10, 9)}}});
  std::ofstream(image() + ".cowvet-undo.7x") << "another file";
  tests::make_file(folder_ / "other.qcow2", 4096);
  EXPECT_EQ(*undo_files_of(image()),
            (std::vector<std::string>{image() + ".cowvet-undo.2", image() + ".cowvet-undo"}));
  EXPECT_TRUE(undo_files_of((folder_ / "other.qcow2").string())->empty());
  EXPECT_EQ(*new_undo_file(image()), image() + ".cowvet-undo.3");
  EXPECT_TRUE(interrupted_undo_files(image())->empty());
  // A link's undo files are those of the image.
  fs::create_directory(folder_ / "links");
  fs::create_symlink(image(), folder_ / "links" / "link");
  EXPECT_EQ(*new_undo_file((folder_ / "links" / "link").string()), image() + ".cowvet-undo.3");
  // Only the newest can be taken back; then the one before.
  EXPECT_FALSE(undo_with(image(), image() + ".cowvet-undo"));
  EXPECT_TRUE(undo_with(image(), image() + ".cowvet-undo.2"));
  EXPECT_TRUE(undo_with(image(), image() + ".cowvet-undo", Force::yes));
}

TEST_F(UndoFiles, lead_to_their_image) {
  const auto undo_file = image() + ".cowvet-undo", elsewhere = (folder_ / "kept").string();
  EXPECT_EQ(identity_of(image(), undo_file, "").image, "disk.qcow2");
  EXPECT_EQ(image_of(undo_file, "disk.qcow2"), image());
  fs::create_directory(elsewhere);
  EXPECT_EQ(identity_of(image(), elsewhere + "/undo", "").image, fs::canonical(image()).string());
  EXPECT_EQ(image_of(elsewhere + "/undo", image()), image());
  // Both were moved.
  fs::rename(image(), elsewhere + "/disk.qcow2");
  EXPECT_EQ(image_of(elsewhere + "/undo", image()), elsewhere + "/disk.qcow2");
  fs::rename(elsewhere + "/disk.qcow2", elsewhere + "/x");
  EXPECT_EQ(image_of(elsewhere + "/undo", image()), image())
      << "nothing to be found: the name that is stored";
}

TEST_F(UndoFiles, that_were_interrupted_are_found) {
  const auto undo_file = image() + ".cowvet-undo";
  const auto before = content(image());
  apply_to(image(), undo_file, change_);
  ASSERT_TRUE(set_state(*opened(undo_file), UndoState::repairing));
  EXPECT_EQ(*interrupted_undo_files(image()), std::vector<std::string>{undo_file});
  base::Progress progress;
  EXPECT_EQ(recover(*opened(image()), *opened(undo_file), progress), true);
  EXPECT_EQ(content(image()) == before, true);
  EXPECT_TRUE(interrupted_undo_files(image())->empty());
  // One that can't be read may be an interrupted one.
  std::ofstream(image() + ".cowvet-undo.2") << "no undo file";
  const auto found = interrupted_undo_files(image());
  ASSERT_FALSE(found);
  EXPECT_NE(found.error().message.find("cowvet-undo.2"), std::string::npos) << found.error().message;
}

// While the image changes a link leads to its undo file elsewhere, which is how the next repair finds it.
TEST_F(UndoFiles, elsewhere_are_found_when_interrupted) {
  const auto elsewhere = (folder_ / "kept").string(), link = image() + ".cowvet-undo";
  fs::create_directory(elsewhere);
  const auto before = content(image());
  apply_to(image(), elsewhere + "/undo", change_);
  EXPECT_FALSE(fs::is_symlink(link)) << "nothing was interrupted";
  ASSERT_TRUE(undo_with(image(), elsewhere + "/undo"));
  fs::remove(elsewhere + "/undo");
  {
    const auto device = opened(image());
    storage::Overlay wanted(*device);
    change_.make(wanted);
    base::Progress progress;
    storage::FaultDevice failing(
        *device, {{.operation = storage::Fault::Operation::write, .nth = 2, .persistent = true}});
    EXPECT_FALSE(apply_to_file(image(), failing, wanted, elsewhere + "/undo", "a test", progress));
  }
  ASSERT_TRUE(fs::is_symlink(link));
  EXPECT_EQ(*interrupted_undo_files(image()), std::vector<std::string>{link});
  EXPECT_EQ(*new_undo_file(image()), link + ".2");
  fs::rename(elsewhere + "/undo", elsewhere + "/away");
  const auto lost = interrupted_undo_files(image());
  ASSERT_FALSE(lost);
  EXPECT_NE(lost.error().message.find(link), std::string::npos) << lost.error().message;
  EXPECT_EQ(*new_undo_file(image()), link + ".2");
  fs::rename(elsewhere + "/away", elsewhere + "/undo");
  base::Progress progress;
  EXPECT_TRUE(recover(*opened(image()), *opened(link), progress));
  EXPECT_TRUE(content(image()) == before);
}

TEST_F(UndoFiles, of_an_image_that_was_touched_since_need_force) {
  const auto undo_file = image() + ".cowvet-undo";
  const auto before = content(image());
  apply_to(image(), undo_file, change_);
  const auto [sec, nsec] = *info_of(undo_file).modified;
  EXPECT_NE(sec, 0U);
  fs::last_write_time(image(), fs::last_write_time(image()) + std::chrono::seconds(2));
  const auto refused = undo_with(image(), undo_file);
  ASSERT_FALSE(refused);
  EXPECT_NE(refused.error().message.find("--force"), std::string::npos) << refused.error().message;
  EXPECT_EQ(info_of(undo_file).state, UndoState::complete);
  // An earlier time is what a crash may leave.
  fs::last_write_time(image(), fs::last_write_time(image()) - std::chrono::seconds(60));
  ASSERT_TRUE(undo_with(image(), undo_file));
  EXPECT_EQ(content(image()) == before, true);
}

TEST_F(UndoFiles, force_does_not_mix_two_states) {
  const auto undo_file = image() + ".cowvet-undo";
  apply_to(image(), undo_file, change_);
  ASSERT_TRUE(opened(image())->write(200, pattern(100, 77)));
  const auto written = content(image());
  EXPECT_FALSE(undo_with(image(), undo_file, Force::yes));
  EXPECT_EQ(content(image()) == written, true);
}

TEST_F(UndoFiles, replace_nothing) {
  const auto undo_file = image() + ".cowvet-undo";
  std::ofstream(undo_file) << "mine";
  const auto before = content(image());
  EXPECT_THROW(apply_to(image(), undo_file, change_), std::runtime_error);
  EXPECT_EQ(fs::file_size(undo_file), 4U);
  EXPECT_EQ(content(image()) == before, true);
}

// A sanitizer keeps memory that was given back.
#if defined(__SANITIZE_ADDRESS__)
constexpr bool sanitized = true;
#elif defined(__has_feature)
constexpr bool sanitized = __has_feature(address_sanitizer);
#else
constexpr bool sanitized = false;
#endif

// More than memory is to hold, exchanged for other data. The peak of the process is looked at, which grows
// with the largest test so far.
TEST_F(UndoFiles, of_much_data_take_little_memory) {
  const std::uint64_t size = std::getenv("COWVET_LONG") != nullptr ? 2ULL << 30
                             : sanitized                           ? 16 << 20
                                                                   : 96 << 20;
  const auto file = (folder_ / "large").string(), source = (folder_ / "source").string();
  {
    const auto made = storage::create_file(file, {.durable = false});
    const auto from = storage::create_file(source, {.durable = false});
    ASSERT_TRUE(made && from);
    for (std::uint64_t at = 0; at < size; at += 1 << 20) {
      ASSERT_TRUE((*made)->write(at, pattern(1 << 20, at)));
      ASSERT_TRUE((*from)->write(at, pattern(1 << 20, at + 1)));
    }
  }
  const auto digest = [&] {
    Digest all{};
    const auto device = opened(file);
    Bytes piece(1 << 20);
    for (std::uint64_t at = 0; at < device->size(); at += piece.size()) {
      device->read(at, piece);
      all = digest_of({all, piece});
    }
    return all;
  };
  const auto before = digest();
  const auto peak = [] {
    rusage usage{};
    ::getrusage(RUSAGE_SELF, &usage);
    return static_cast<std::uint64_t>(usage.ru_maxrss) << 10;
  };
  const auto first = peak();
  {
    const auto image = opened(file), from = opened(source);
    const auto undo_file = storage::create_file((folder_ / "undo").string(), {});
    ASSERT_TRUE(undo_file);
    const std::vector<storage::Range> all{{0, size}};
    base::Progress progress;
    const auto applied = apply(*image, *from, all, **undo_file, somebody, {}, progress);
    ASSERT_TRUE(applied) << applied.error().message;
    EXPECT_EQ(applied->written, size);
  }
  EXPECT_NE(digest(), before);
  ASSERT_TRUE(undo_with(file, (folder_ / "undo").string()));
  EXPECT_EQ(digest(), before);
  if (!sanitized) {
    EXPECT_LT(peak() - first, 16ULL << 20);
  }
}

}  // namespace
}  // namespace cowvet::repair
