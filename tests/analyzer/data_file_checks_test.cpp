// What the corpus can't say about external data files: files of every kind at names of every kind.
#include <filesystem>
#include <fstream>
#include <set>
#include <string>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "tests/analyzer/checked.hpp"
#include "tests/storage/temporary.hpp"

namespace cowvet::analyzer {
namespace {

using RuleNames = std::set<std::string_view>;
namespace fs = std::filesystem;

class DataFileChecks : public testing::Test {
 protected:
  void SetUp() override {
    fs::create_directory(folder_ / "images");
    fs::create_directory(folder_ / "elsewhere");
    write("images/disk.raw", 1 << 20);
    write("elsewhere/disk.raw", 1 << 20);
  }
  void write(const std::string& name, std::uint64_t size) {
    std::ofstream(folder_ / name).put('x');
    fs::resize_file(folder_ / name, size);
  }
  // The rules that an image in images/ raises whose data file has this name; `asked`: the image's place is known.
  RuleNames rules(const std::string& name, bool asked = true, std::string_view flags = {}) {
    const Bytes image(fmt::format("image\ndatafile \"{}\" {}", name, flags));
    const auto device = image.device();
    Options options;
    if (asked) options.path = (folder_ / "images/image.qcow2").string();
    const Checked checked(*device, options);
    size_ = checked.image.data_file_size;
    RuleNames found;
    for (const auto& finding : checked.findings) found.insert(finding.rule->name);
    return found;
  }
  [[nodiscard]] std::string path(const std::string& name) const { return (folder_ / name).string(); }

  std::optional<std::uint64_t> size_;

 private:
  tests::Folder folder_;
};

TEST_F(DataFileChecks, AFileInTheImagesDirectoryIsAsItShouldBe) {
  EXPECT_EQ(rules(path("images/disk.raw")), RuleNames{});
  EXPECT_EQ(size_, 1U << 20);
  EXPECT_EQ(rules(path("elsewhere/../images/disk.raw")), RuleNames{});
  EXPECT_EQ(rules(path("images/./disk.raw"), true, "raw"), RuleNames{});
}

TEST_F(DataFileChecks, AFileElsewhereIsAFileOfTheHost) {
  EXPECT_EQ(rules(path("elsewhere/disk.raw")), RuleNames{"security/data-file-host-file"});
  EXPECT_EQ(rules(path("images/../elsewhere/disk.raw")), RuleNames{"security/data-file-host-file"});
  EXPECT_EQ(rules(path("images/disk.raw"), false),
            RuleNames{"security/data-file-host-file"});  // who knows where the image is
  EXPECT_FALSE(size_);
}

TEST_F(DataFileChecks, RelativeNamesLeaveTheDirectoryOnlyWithDots) {
  EXPECT_EQ(rules("sub/../disk.raw", false), RuleNames{"datafile/name-resolution"});
  EXPECT_EQ(rules("sub/../../disk.raw", false),
            (RuleNames{"datafile/name-resolution", "security/data-file-host-file"}));
}

TEST_F(DataFileChecks, WhatIsNoFileCanNotHoldADisk) {
  fs::create_directory(path("images/folder"));
  EXPECT_EQ(rules(path("images/folder")), RuleNames{"datafile/missing"});
  EXPECT_EQ(rules(path("images/nothing")), RuleNames{"datafile/missing"});
  EXPECT_EQ(rules(path("images/disk.raw/nothing")), RuleNames{"datafile/missing"});
  EXPECT_EQ(rules("/dev/null"), (RuleNames{"datafile/missing", "security/data-file-host-file"}));
  EXPECT_EQ(rules("/" + std::string(60'000, 'n')),
            (RuleNames{"datafile/missing", "security/data-file-host-file"}));
}

TEST_F(DataFileChecks, ADeviceInTheImagesDirectoryIsADeviceOfTheHost) {
  fs::create_symlink("/dev/zero", path("images/zero"));
  EXPECT_EQ(rules(path("images/zero")), (RuleNames{"datafile/missing", "security/data-file-host-file"}));
}

TEST_F(DataFileChecks, TheSizeIsComparedWithTheDisk) {
  write("images/disk.raw", (1 << 20) + 1);
  EXPECT_EQ(rules(path("images/disk.raw")), RuleNames{"datafile/too-long"});
  EXPECT_EQ(rules(path("images/disk.raw"), true, "raw"), RuleNames{"datafile/raw-size"});
  write("images/disk.raw", 512);
  EXPECT_EQ(rules(path("images/disk.raw")), RuleNames{});
  EXPECT_EQ(rules(path("images/disk.raw"), true, "raw"), RuleNames{"datafile/raw-size"});
}

TEST_F(DataFileChecks, NamesThatLookLikeUrlsAreNotFollowed) {
  EXPECT_EQ(rules("json:{}"), RuleNames{"datafile/name-literal"});
  EXPECT_EQ(rules("file:" + path("images/disk.raw")), RuleNames{"datafile/name-literal"});
  EXPECT_EQ(rules(path("images/a:b")), RuleNames{"datafile/missing"});  // the colon comes after a slash
}

TEST_F(DataFileChecks, NoFileIsLookedForUnderANameWithANul) {
  EXPECT_EQ(rules("disk.raw\\0x"), RuleNames{"ext/data-file-name"});
}

}  // namespace
}  // namespace cowvet::analyzer
