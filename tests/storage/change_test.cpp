// Discarding, zeroing, preallocating and making files: each device against a plain vector of bytes, and the wrappers.
#include <algorithm>

#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <rapidcheck/gtest.h>

#include "storage/fault.hpp"
#include "storage/file.hpp"
#include "storage/locks.hpp"
#include "storage/memory.hpp"
#include "storage/overlay.hpp"
#include "storage/recorder.hpp"
#include "tests/storage/temporary.hpp"

namespace cowvet::storage {
namespace {

using tests::pattern;

std::vector<std::byte> content(const Device& device) {
  std::vector<std::byte> bytes(static_cast<std::size_t>(device.size()), std::byte{0xee});
  EXPECT_EQ(device.read(0, bytes).os_error, 0);
  return bytes;
}

// What the three changes promise.
void discard(std::vector<std::byte>& bytes, std::size_t offset, std::size_t length) {
  const auto end = std::min(bytes.size(), offset + length);
  if (offset < end)
    std::fill(bytes.begin() + static_cast<long>(offset), bytes.begin() + static_cast<long>(end),
              std::byte{0});
}
void grow(std::vector<std::byte>& bytes, std::size_t offset, std::size_t length) {
  if (length > 0) bytes.resize(std::max(bytes.size(), offset + length));
}

void change(Device& device, std::vector<std::byte>& model) {
  for (int step = *rc::gen::inRange(1, 12); step > 0; --step) {
    const auto offset = *rc::gen::inRange<std::size_t>(0, 300'000);
    const auto length =
        *rc::gen::oneOf(rc::gen::inRange<std::size_t>(0, 600), rc::gen::inRange<std::size_t>(0, 280'000));
    switch (*rc::gen::inRange(0, 4)) {
      case 0:
        RC_ASSERT(device.discard(offset, length));
        discard(model, offset, length);
        break;
      case 1:
        RC_ASSERT(device.zero(offset, length));
        grow(model, offset, length);
        discard(model, offset, length);
        break;
      case 2:
        RC_ASSERT(device.preallocate(offset, length));
        grow(model, offset, length);
        break;
      default: {
        const auto what = pattern(length, static_cast<std::uint64_t>(step));
        RC_ASSERT(device.write(offset, what));
        grow(model, offset, length);
        std::ranges::copy(what, model.begin() + static_cast<long>(std::min(offset, model.size())));
      }
    }
    RC_ASSERT(device.size() == model.size());
  }
  RC_ASSERT(content(device) == model);
}

RC_GTEST_PROP(Change, MemoryIsAPlainVector, ()) {
  auto model = pattern(*rc::gen::inRange<std::size_t>(0, 200'000), 1);
  MemoryDevice device(model);
  change(device, model);
}

RC_GTEST_PROP(Change, AnOverlayIsAPlainVectorAndSparesTheBase, ()) {
  auto model = pattern(*rc::gen::inRange<std::size_t>(0, 200'000), 1);
  const auto before = model;
  const MemoryDevice base(model);
  Overlay device(base);
  change(device, model);
  RC_ASSERT(base.bytes() == before);
}

RC_GTEST_PROP(Change, AFileIsAPlainVector, ()) {
  const tests::Folder folder;
  auto model = pattern(*rc::gen::inRange<std::size_t>(0, 200'000), 1);
  tests::make_file(folder / "f", model.size(), {{0, model}});
  auto device = open_file(folder / "f", {.writable = true});
  RC_ASSERT(device);
  change(**device, model);
}

TEST(Change, AFileGivesItsSpaceBackAndTakesItAhead) {
  const tests::Folder folder;
  tests::make_file(folder / "f", 1 << 20, {{0, pattern(1 << 20, 1)}});
  auto device = open_file(folder / "f", {.writable = true});
  ASSERT_TRUE(device);
  ASSERT_TRUE((*device)->discard(0, 512 * 1024));
  EXPECT_LE((*device)->allocated(), 600U * 1024);
  EXPECT_TRUE((*device)->extent(0).hole);
  ASSERT_TRUE((*device)->preallocate(0, 2 << 20));
  EXPECT_GE((*device)->allocated(), 2U << 20);
  EXPECT_EQ((*device)->size(), 2U << 20);
}

TEST(Change, NothingChangesADeviceOpenedForReading) {
  const tests::Folder folder;
  tests::make_file(folder / "f", 4096, {{0, pattern(4096, 1)}});
  auto device = open_file(folder / "f");
  ASSERT_TRUE(device);
  for (const auto& result : {(*device)->discard(0, 10), (*device)->zero(0, 10), (*device)->preallocate(0, 10),
                             (*device)->write(0, pattern(1, 1))}) {
    ASSERT_FALSE(result);
    EXPECT_EQ(result.error().kind, base::ErrorKind::usage);
  }
  EXPECT_EQ(content(**device), pattern(4096, 1));
}

TEST(Change, FaultsStrikeEachKind) {
  using Operation = Fault::Operation;
  MemoryDevice memory(pattern(4096, 1));
  FaultDevice device(memory, {{.operation = Operation::discard, .begin = 100, .os_error = EIO},
                              {.operation = Operation::write, .begin = 1000, .end = 1001},
                              {.operation = Operation::preallocate, .begin = 5000, .os_error = ENOSPC}});
  EXPECT_FALSE(device.discard(90, 20));
  EXPECT_EQ(memory.bytes()[99], std::byte{0}) << "done up to the fault";
  EXPECT_NE(memory.bytes()[100], std::byte{0});
  EXPECT_FALSE(device.zero(990, 20));
  EXPECT_NE(memory.bytes()[1000], std::byte{0});
  const auto full = device.preallocate(0, 6000);
  ASSERT_FALSE(full);
  EXPECT_EQ(full.error().os_error, ENOSPC);
  EXPECT_TRUE(device.discard(90, 20)) << "it was to strike once";
  EXPECT_EQ(device.strikes(), 3);
}

TEST(Change, TheRecorderKeepsThem) {
  MemoryDevice memory(pattern(100, 1));
  Recorder recorder(memory);
  EXPECT_TRUE(recorder.discard(10, 20));
  EXPECT_TRUE(recorder.zero(90, 20));
  EXPECT_TRUE(recorder.preallocate(0, 50));
  EXPECT_TRUE(recorder.preallocate(0, 150));
  const std::vector<Event> expected{
      {Event::Kind::discard, 10, {}, 20}, {Event::Kind::zero, 90, {}, 20}, {Event::Kind::resize, 150, {}, 0}};
  EXPECT_EQ(recorder.events(), expected);
}

TEST(CreateFile, MakesAndEmptiesFiles) {
  const tests::Folder folder;
  {
    auto made = create_file(folder / "new");
    ASSERT_TRUE(made);
    EXPECT_EQ((*made)->size(), 0);
    ASSERT_TRUE((*made)->write(0, pattern(10, 1)));
  }
  auto again = create_file(folder / "new");
  ASSERT_TRUE(again);
  EXPECT_EQ((*again)->size(), 0);
  const auto nowhere = create_file(folder / "no" / "new");
  ASSERT_FALSE(nowhere);
  EXPECT_EQ(nowhere.error().kind, base::ErrorKind::not_found);
  EXPECT_NE(nowhere.error().message.find("make it first"), std::string::npos);
  EXPECT_FALSE(create_file(folder / "."));
}

TEST(CreateFile, DoesNotTouchAFileThatIsInUse) {
  const tests::Folder folder;
  tests::make_file(folder / "f", 10, {{0, pattern(10, 1)}});
  auto user = open_file(folder / "f", {.writable = true});
  ASSERT_TRUE(user);
  const auto refused = create_file(folder / "f");
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().kind, base::ErrorKind::in_use);
  EXPECT_EQ(content(**user), pattern(10, 1));
}

}  // namespace
}  // namespace cowvet::storage
