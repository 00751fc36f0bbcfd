// The overlay against the plainest model of it: a vector of bytes.
#include "storage/overlay.hpp"

#include <algorithm>
#include <thread>

#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <rapidcheck/gtest.h>

#include "storage/fault.hpp"
#include "storage/memory.hpp"
#include "tests/storage/temporary.hpp"

namespace cowvet::storage {
namespace {

using tests::pattern;

// The overlay's promise, byte by byte.
struct Model {
  std::vector<std::byte> base, bytes;
  std::vector<bool> changed;  // of `bytes`

  explicit Model(std::vector<std::byte> from) : base(from), bytes(std::move(from)), changed(bytes.size()) {}
  void write(std::uint64_t offset, base::ConstBytes what) {
    if (what.empty()) return;
    if (offset + what.size() > bytes.size()) resize(offset + what.size());
    std::ranges::copy(what, bytes.begin() + static_cast<std::ptrdiff_t>(offset));
    std::fill_n(changed.begin() + static_cast<std::ptrdiff_t>(offset), what.size(), true);
  }
  void resize(std::uint64_t size) {
    const auto old = changed.size();
    bytes.resize(static_cast<std::size_t>(size));
    changed.resize(static_cast<std::size_t>(size));
    for (std::size_t i = old; i < changed.size(); ++i)
      changed[i] = i < base.size();  // cut off and grown again
  }
  [[nodiscard]] std::vector<Range> changes() const {
    std::vector<Range> ranges;
    for (std::uint64_t i = 0; i < changed.size(); ++i) {
      if (!changed[static_cast<std::size_t>(i)]) continue;
      if (ranges.empty() || ranges.back().end != i) ranges.push_back({i, i});
      ranges.back().end = i + 1;
    }
    return ranges;
  }
};

void compare(const Overlay& overlay, const Model& model) {
  RC_ASSERT(overlay.size() == model.bytes.size());
  RC_ASSERT(overlay.changes() == model.changes());

  const auto ranges = *rc::gen::container<std::vector<std::pair<std::uint64_t, std::size_t>>>(
      8, rc::gen::pair(rc::gen::inRange<std::uint64_t>(0, 50'000), rc::gen::inRange<std::size_t>(0, 20'000)));
  std::vector<std::vector<std::byte>> buffers;
  std::vector<ReadRequest> batch;
  for (const auto& [offset, length] : ranges) buffers.emplace_back(length, std::byte{0xee});
  for (std::size_t i = 0; i < ranges.size(); ++i)
    batch.push_back({.offset = ranges[i].first, .into = buffers[i]});
  overlay.read(batch);
  for (const auto& request : batch) {
    const std::uint64_t there = request.offset < model.bytes.size() ? model.bytes.size() - request.offset : 0;
    RC_ASSERT(request.valid == std::min<std::uint64_t>(there, request.into.size()));
    RC_ASSERT(request.os_error == 0);
    for (std::size_t i = 0; i < request.into.size(); ++i)
      RC_ASSERT(
          request.into[i] ==
          (i < request.valid ? model.bytes[static_cast<std::size_t>(request.offset) + i] : std::byte{0}));
    if (request.hole) RC_ASSERT(base::all_zero(request.into));
  }

  for (std::uint64_t at = 0; at < overlay.size();) {
    const auto extent = overlay.extent(at);
    RC_ASSERT(extent.begin <= at);
    RC_ASSERT(extent.end > at);
    RC_ASSERT(extent.end <= overlay.size());
    if (extent.hole)
      RC_ASSERT(base::all_zero(base::ConstBytes(model.bytes)
                                   .subspan(static_cast<std::size_t>(extent.begin),
                                            static_cast<std::size_t>(extent.end - extent.begin))));
    at = extent.end;
  }
}

RC_GTEST_PROP(Overlay, IsAPlainVectorOfBytesAndNeverTouchesTheBase, ()) {
  auto bytes = pattern(*rc::gen::inRange<std::size_t>(0, 40'000), 1);
  if (bytes.size() > 20'000) std::fill_n(bytes.begin() + 5000, 10'000, std::byte{0});
  const MemoryDevice base(bytes);
  Overlay overlay(base);
  Model model(bytes);
  for (int step = *rc::gen::inRange(0, 25); step > 0; --step) {
    const auto place = *rc::gen::inRange<std::uint64_t>(0, 45'000);
    if (*rc::gen::inRange(0, 5) == 0) {
      RC_ASSERT(overlay.resize(place));
      model.resize(place);
    } else {
      const auto what = pattern(
          *rc::gen::oneOf(rc::gen::inRange<std::size_t>(0, 16), rc::gen::inRange<std::size_t>(0, 9000)),
          static_cast<std::uint64_t>(step) + 100);
      RC_ASSERT(overlay.write(place, what));
      model.write(place, what);
    }
  }
  compare(overlay, model);
  RC_ASSERT(base.bytes() == bytes);
}

TEST(Overlay, SequentialSmallWritesStayInOrderAndMerge) {
  const MemoryDevice base(std::vector<std::byte>(1 << 20));
  Overlay overlay(base);
  for (std::uint64_t at = 1000; at < 501'000; at += 8) ASSERT_TRUE(overlay.write(at, pattern(8, at)));
  for (std::uint64_t at = 900'000; at > 800'000; at -= 8) ASSERT_TRUE(overlay.write(at - 8, pattern(8, at)));
  EXPECT_EQ(overlay.changes(), (std::vector<Range>{{1000, 501'000}, {800'000, 900'000}}));
  EXPECT_EQ(overlay.extent(2000).begin, 1000);
  ASSERT_TRUE(overlay.write(600'000, pattern(5, 1)));
  ASSERT_TRUE(overlay.write(600'006, pattern(5, 2)));
  EXPECT_EQ(overlay.changes()[1], (Range{600'000, 600'005})) << "one byte between them is not theirs";
  EXPECT_TRUE(overlay.flush());
}

TEST(Overlay, AnUnreadableSectorIsMendedByWritingAllOfIt) {
  MemoryDevice memory(pattern(8192, 1));
  const FaultDevice base(memory, {{.begin = 1024, .end = 1536, .persistent = true}});
  Overlay overlay(base);
  std::vector<std::byte> into(8192);
  auto request = overlay.Device::read(0, into);
  EXPECT_EQ(request.os_error, EIO);
  EXPECT_EQ(request.bad_begin, 1024);
  EXPECT_EQ(request.bad_end, 1536);

  ASSERT_TRUE(overlay.write(1024, pattern(511, 2)));
  EXPECT_EQ(overlay.Device::read(0, into).os_error, EIO) << "one byte is still unknown";
  ASSERT_TRUE(overlay.write(1535, pattern(1, 3)));
  request = overlay.Device::read(0, into);
  EXPECT_EQ(request.os_error, 0);
  EXPECT_EQ(request.bad_end, 0);
  EXPECT_EQ(into[1024], pattern(511, 2)[0]);
  EXPECT_EQ(into[1536], memory.bytes()[1536]);
}

TEST(Overlay, ABaseThatBecameShorterIsNoZeros) {
  MemoryDevice base(pattern(8192, 1));
  Overlay overlay(base);
  ASSERT_TRUE(overlay.write(4096, pattern(100, 2)));
  ASSERT_TRUE(base.resize(3000));
  std::vector<std::byte> into(8192);
  const auto request = overlay.Device::read(0, into);
  EXPECT_EQ(request.os_error, EIO);
  EXPECT_EQ(request.bad_begin, 3000);
  EXPECT_EQ(request.bad_end, 8192);
  EXPECT_EQ(into[4100], pattern(100, 2)[4]);
}

TEST(Overlay, RefusesSizesThatNoFileHas) {
  const MemoryDevice base;
  Overlay overlay(base);
  EXPECT_FALSE(overlay.write(UINT64_MAX - 3, pattern(8, 1)));
  EXPECT_FALSE(overlay.write(INT64_MAX, pattern(1, 1)));
  EXPECT_FALSE(overlay.resize(UINT64_MAX));
  EXPECT_EQ(overlay.size(), 0);
  EXPECT_TRUE(overlay.resize(std::uint64_t{1} << 50));
  EXPECT_TRUE(overlay.extent(12345).hole);
  EXPECT_EQ(overlay.extent(12345).end, std::uint64_t{1} << 50);
}

TEST(Overlay, ThreadsReadWhileOneWrites) {
  const MemoryDevice base(std::vector<std::byte>(1 << 20));
  Overlay overlay(base);
  // Each block is written with one value at a time: a reader must never see two in one block.
  constexpr std::size_t block_size = 65536;
  const auto reader = [&](const std::stop_token& stop) {
    std::vector<std::byte> into(block_size);
    for (std::uint64_t block = 0; !stop.stop_requested(); block = (block + 1) % 4) {
      overlay.Device::read(block * block_size, into);
      if (std::ranges::find_if(into, [&](std::byte b) { return b != into[0]; }) != into.end())
        ADD_FAILURE() << "torn block " << block;
    }
  };
  const std::jthread one(reader);
  const std::jthread two(reader);
  for (unsigned value = 1; value < 250; ++value)
    for (std::uint64_t block = 0; block < 4; ++block)
      ASSERT_TRUE(overlay.write(block * block_size,
                                std::vector<std::byte>(block_size, static_cast<std::byte>(value))));
}

}  // namespace
}  // namespace cowvet::storage
