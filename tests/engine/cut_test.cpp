// What an emptied or shrunk image gives back: its file ends where its last owner does. What the changes did not free
// themselves stays, also behind the end of all that is counted; and the file is cut only when the lowered counts are
// durable, so that no crash leaves counts of what lies behind its end.
#include <algorithm>

#include <gtest/gtest.h>

#include "storage/recorder.hpp"
#include "tests/engine/images.hpp"

namespace cowvet::engine {
namespace {

using namespace testing_images;
using storage::Event;

constexpr auto chain_top = "image size=1M cluster_size=4K\nbacking \"below\" format=raw\ndata 0..99\n";

std::unique_ptr<Qcow2Disk> opened(storage::Device& device) {
  return must(Qcow2Disk::open(device, {.writable = true, .backing = std::make_shared<PatternDisk>(1 << 20)}));
}

void empty(storage::Device& device) {
  const auto disk = opened(device);
  must(disk->give_up_content());
  must(disk->close());
}

TEST(Cut, AnEmptiedImageEndsBehindItsTables) {
  storage::MemoryDevice device(build(chain_top).file.bytes());
  ASSERT_GT(device.size(), 100U << 12);
  empty(device);
  EXPECT_LE(device.size(), 8U << 12);
  EXPECT_EQ(findings(device), "");
  const auto disk = opened(device);
  EXPECT_TRUE(std::ranges::equal(content(*disk), content(PatternDisk(1 << 20))));
  // It grows again as any image does.
  must(disk->write(base::GuestOffset{0}, std::vector<std::byte>(300 << 10, std::byte{0x77})));
  must(disk->close());
  EXPECT_EQ(findings(device), "");
}

TEST(Cut, AShrunkImageIsShort) {
  storage::MemoryDevice device(build("image size=1M cluster_size=4K\ndata 0..255\n").file.bytes());
  const auto before = device.size();
  const auto disk = must(Qcow2Disk::open(device, {.writable = true}));
  must(disk->resize(64 << 10));
  EXPECT_LT(device.size(), before - (900 << 10));
  EXPECT_EQ(content(*disk).size(), 64U << 10);
  must(disk->write(base::GuestOffset{0}, std::vector<std::byte>(60 << 10, std::byte{0x77})));
  must(disk->resize(2 << 20));
  must(disk->close());
  EXPECT_EQ(findings(device), "");
}

TEST(Cut, WhatASnapshotHoldsStays) {
  storage::MemoryDevice device(
      build(std::string(chain_top) + "snapshot name=s\ndata 50..120\n").file.bytes());
  const auto then = content(*must(opened(device)->snapshot_disk("s")));
  empty(device);
  EXPECT_TRUE(content(*must(opened(device)->snapshot_disk("s"))) == then);
  EXPECT_EQ(findings(device), "");
}

TEST(Cut, WhatOthersLeftBehindTheEndStays) {
  auto bytes = build(chain_top).file.bytes();
  const std::size_t end = bytes.size();
  bytes.resize(end + 4096, std::byte{0x55});  // nobody counts it: who knows what it is
  storage::MemoryDevice device(bytes);
  empty(device);
  ASSERT_EQ(device.size(), end + 4096);
  EXPECT_EQ(device.bytes().back(), std::byte{0x55});
}

TEST(Cut, NothingIsCutBeforeTheCountsAreDurable) {
  storage::MemoryDevice device(build(chain_top).file.bytes());
  storage::Recorder recorder(device);
  empty(recorder);
  const auto events = recorder.events();
  const auto cut = std::ranges::find(events, Event::Kind::resize, &Event::kind);
  ASSERT_NE(cut, events.end());
  ASSERT_NE(cut, events.begin());
  EXPECT_EQ(std::prev(cut)->kind, Event::Kind::flush);
  EXPECT_TRUE(std::none_of(cut, events.end(), [](const Event& e) { return e.kind == Event::Kind::write; }));
}

}  // namespace
}  // namespace cowvet::engine
