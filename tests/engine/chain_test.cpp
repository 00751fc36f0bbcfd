// Chains by name: what lies below is found as QEMU finds it, and what can't be opened is said with its name.
#include "engine/chain.hpp"

#include <algorithm>
#include <map>

#include <gtest/gtest.h>

#include "engine/create.hpp"
#include "storage/file.hpp"
#include "tests/engine/images.hpp"
#include "tests/storage/temporary.hpp"

namespace cowvet::engine {
namespace {

using testing_images::content;
using testing_images::must;

base::Result<std::unique_ptr<storage::Device>> from_disk(const std::string& file, bool writable) {
  return storage::open_file(file, {.writable = writable});
}

class Chain : public testing::Test {
 protected:
  void make(const std::string& name, CreateOptions options, std::uint64_t at = 0, std::size_t length = 0,
            std::byte value = {}) {
    const auto device = must(storage::create_file(path(name)));
    std::unique_ptr<storage::Device> data;
    if (options.data_file) data = must(storage::create_file(*options.data_file));
    base::Progress progress;
    must(create_qcow2(*device, data.get(), options, progress));
    if (length == 0) return;
    OpenOptions open{.writable = true, .data_file = data.get()};
    if (options.encrypt) open.cipher = must(open_aes(options.encrypt->secret));
    const auto disk = must(Qcow2Disk::open(*device, open));
    must(disk->write(base::GuestOffset{at}, std::vector<std::byte>(length, value)));
    must(disk->close());
  }
  [[nodiscard]] std::string path(const std::string& name) const { return (folder_ / name).string(); }
  [[nodiscard]] std::string error(const std::string& name, const ChainOptions& options = {}) const {
    const auto image = open_image(path(name), options, from_disk);
    return image ? "" : image.error().message;
  }

  tests::Folder folder_;
};

TEST_F(Chain, ReadsThroughAllLayersAndTellsWhoDecides) {
  tests::make_file(path("base.raw"), 200'000, {{0, std::vector<std::byte>(200'000, std::byte{1})}});
  make("middle", {.size = 300'000, .backing_file = "base.raw", .backing_format = "raw"}, 65536, 65536,
       std::byte{2});
  make("top", {.size = 400'000, .backing_file = "middle"}, 131072, 65536, std::byte{3});
  const auto image = must(open_image(path("top"), {}, from_disk));
  std::vector<std::byte> expected(400'384);
  std::fill_n(expected.begin(), 200'000, std::byte{1});
  std::fill_n(expected.begin() + 65536, 65536, std::byte{2});
  std::fill_n(expected.begin() + 131072, 65536, std::byte{3});
  EXPECT_EQ(content(image->disk()), expected);
  ASSERT_NE(image->backing(), nullptr);
  EXPECT_EQ(image->backing()->format(), ImageFormat::qcow2);
  EXPECT_EQ(image->backing()->file(), path("middle"));
  EXPECT_EQ(image->backing()->backing()->format(), ImageFormat::raw);

  std::vector<std::pair<std::uint64_t, std::size_t>> told;
  for (std::uint64_t at = 0; at < image->disk().size();) {
    const auto extent = must(chain_extent(*image, base::GuestOffset{at}, image->disk().size() - at));
    told.emplace_back(extent.extent.length, extent.depth);
    EXPECT_EQ(extent.extent.data, at < 200'000) << at;
    at += extent.extent.length;
  }
  EXPECT_EQ(told, (std::vector<std::pair<std::uint64_t, std::size_t>>{
                      {65536, 2}, {65536, 1}, {65536, 0}, {3392, 2}, {192, 2}, {99'840, 1}, {100'352, 0}}));
}

TEST_F(Chain, TheDeclaredFormatWinsAndOtherwiseItIsProbed) {
  make("base", {.size = 1 << 20}, 0, 65536, std::byte{7});
  make("declared", {.size = 1 << 20, .backing_file = "base", .backing_format = "raw"});
  make("probed", {.size = 1 << 20, .backing_file = "base"});
  EXPECT_EQ(content(must(open_image(path("declared"), {}, from_disk))->disk())[0], std::byte{'Q'});
  EXPECT_EQ(content(must(open_image(path("probed"), {}, from_disk))->disk())[0], std::byte{7});
  EXPECT_EQ(must(open_image(path("base"), {.format = ImageFormat::raw}, from_disk))->qcow2(), nullptr);
  tests::make_file(path("short"), 3);
  EXPECT_EQ(must(open_image(path("short"), {}, from_disk))->format(), ImageFormat::raw);
}

TEST_F(Chain, AnotherBackingFileOrNone) {
  make("base", {.size = 1 << 20}, 0, 65536, std::byte{7});
  make("top", {.size = 1 << 20, .backing_file = "missing", .backing_format = "qcow2"});
  EXPECT_NE(error("top").find("missing': no such file"), std::string::npos);
  EXPECT_EQ(content(must(open_image(path("top"), {.no_backing = true}, from_disk))->disk())[0], std::byte{0});
  EXPECT_EQ(content(must(open_image(path("top"), {.backing = ""}, from_disk))->disk())[0], std::byte{0});
  EXPECT_EQ(content(must(open_image(path("top"), {.backing = path("base")}, from_disk))->disk())[0],
            std::byte{7});
  EXPECT_EQ(content(must(open_image(path("top"),
                                    {.backing = path("base"), .backing_format = ImageFormat::raw}, from_disk))
                        ->disk())[0],
            std::byte{'Q'});
}

TEST_F(Chain, NamesThatAreNoLocalFilesAreRefusedWithTheRemedy) {
  make("base", {.size = 1 << 20}, 0, 65536, std::byte{7});
  make("file", {.size = 1 << 20, .backing_file = "file:" + path("base")});
  EXPECT_EQ(content(must(open_image(path("file"), {}, from_disk))->disk())[0], std::byte{7});
  for (const char* name : {"nbd://host/disk", "json:{\"driver\":\"qcow2\"}"}) {
    make("top", {.size = 1 << 20, .backing_file = name});
    EXPECT_NE(error("top").find("local files only: copy it here"), std::string::npos) << error("top");
  }
  make("top", {.size = 1 << 20, .backing_file = "base", .backing_format = "vmdk"});
  EXPECT_NE(error("top").find("'vmdk': cowvet opens qcow2 and raw"), std::string::npos) << error("top");
}

TEST_F(Chain, AChainThatNeverEndsIsAnErrorThatNamesTheFile) {
  make("a", {.size = 1 << 20, .backing_file = "b"});
  make("b", {.size = 1 << 20, .backing_file = "a"});
  EXPECT_NE(error("a").find("a': is in the chain already"), std::string::npos) << error("a");
  make("self", {.size = 1 << 20, .backing_file = "self"});
  EXPECT_NE(error("self").find("in the chain already"), std::string::npos);
}

TEST_F(Chain, AChainHasALimit) {
  for (std::size_t i = 0; i <= deepest_chain; ++i)
    make(std::to_string(i), {.size = 512, .cluster_size = 512, .backing_file = std::to_string(i + 1)});
  const auto last = std::to_string(deepest_chain);
  tests::make_file(path(last), 512);
  EXPECT_NE(error("0").find("more than 256 files"), std::string::npos);
  EXPECT_EQ(error("1"), "");
}

TEST_F(Chain, OnlyTheTopIsOpenedForWriting) {
  make("base", {.size = 1 << 20}, 0, 65536, std::byte{7});
  make("top", {.size = 1 << 20, .backing_file = "base"});
  std::map<std::string, bool> opened;
  const auto image =
      must(open_image(path("top"), {.writable = true}, [&](const std::string& file, bool writable) {
        opened[file] = writable;
        return from_disk(file, writable);
      }));
  EXPECT_EQ(opened, (std::map<std::string, bool>{{path("base"), false}, {path("top"), true}}));
  must(image->disk().write(base::GuestOffset{0}, std::vector<std::byte>(512, std::byte{9})));
  must(image->close());
  const auto bytes = content(must(open_image(path("top"), {}, from_disk))->disk());
  EXPECT_EQ(bytes[0], std::byte{9});
  EXPECT_EQ(bytes[512], std::byte{7});
}

TEST_F(Chain, DataFilesAndPasswordsAndTheLackOfThem) {
  make("data", {.size = 1 << 20, .data_file = path("d.raw")}, 0, 512, std::byte{5});
  EXPECT_EQ(content(must(open_image(path("data"), {}, from_disk))->disk())[0], std::byte{5});
  std::filesystem::remove(path("d.raw"));
  EXPECT_NE(error("data").find("d.raw': no such file"), std::string::npos) << error("data");

  make("secret",
       {.size = 1 << 20, .encrypt = EncryptOptions{.method = format::CryptMethod::aes, .secret = "x"}}, 0,
       512, std::byte{6});
  make("top", {.size = 1 << 20, .backing_file = "secret"});
  EXPECT_EQ(content(must(open_image(path("top"), {.secret = "x"}, from_disk))->disk())[0], std::byte{6});
  std::vector<std::byte> one(1);
  EXPECT_FALSE(must(open_image(path("top"), {}, from_disk))->disk().read(base::GuestOffset{0}, one));
}

TEST_F(Chain, ASnapshotIsAViewThatCannotBeWritten) {
  make("image", {.size = 1 << 20}, 0, 512, std::byte{5});
  EXPECT_NE(error("image", {.snapshot = "none"}), "");
  EXPECT_NE(error("image", {.writable = true, .snapshot = "none"}).find("can't be written"),
            std::string::npos);
  tests::make_file(path("raw"), 512);
  EXPECT_NE(error("raw", {.snapshot = "s"}).find("no snapshots"), std::string::npos);
}

}  // namespace
}  // namespace cowvet::engine
