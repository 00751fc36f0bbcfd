// The law of undo: taking a change back gives the bytes that were there. And what undo refuses: damaged files, other
// images, images that somebody wrote to since.
#include "repair/undo.hpp"

#include <string>

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <rapidcheck/gtest.h>

#include "storage/fault.hpp"
#include "tests/repair/changes.hpp"

namespace cowvet::repair {
namespace {

using namespace testing_undo;
using storage::MemoryDevice;

// The image after a change, and its undo file.
struct Changed {
  MemoryDevice image, undo;
  explicit Changed(const KnownChange& change) : image(change.before) {
    const auto applied = apply_change(change, image, undo);
    if (!applied) throw std::runtime_error(applied.error().message);
  }
};

UndoState state_of(const storage::Device& undo) {
  base::Progress progress;
  const auto info = read_undo(undo, progress);
  if (!info) throw std::runtime_error(info.error().message);
  return info->state;
}

class Undo : public testing::TestWithParam<KnownChange> {};

TEST_P(Undo, takes_a_change_back) {
  const auto& change = GetParam();
  Changed changed(change);
  ASSERT_EQ(changed.image.bytes() == change.after(), true);
  EXPECT_EQ(state_of(changed.undo), UndoState::complete);
  EXPECT_EQ(recover_from(changed.image, changed.undo), false)
      << "a complete change is not taken back unasked";
  const auto undone = take_back(changed.image, changed.undo);
  ASSERT_TRUE(undone) << undone.error().message;
  EXPECT_FALSE(undone->already);
  ASSERT_EQ(changed.image.bytes() == change.before, true);
  EXPECT_EQ(state_of(changed.undo), UndoState::undone);
  EXPECT_TRUE(take_back(changed.image, changed.undo)->already);
  ASSERT_EQ(changed.image.bytes() == change.before, true);
}

TEST_P(Undo, is_for_changes_alone) {
  Changed changed(GetParam());
  MemoryDevice second;
  const auto again = apply_change({"nothing", {}, {}}, changed.image, second);
  ASSERT_TRUE(again);
  EXPECT_FALSE(again->changed);
  EXPECT_EQ(second.size(), 0U) << "no change leaves no undo file";
}

TEST_P(Undo, refuses_an_undo_file_with_any_byte_changed) {
  const auto& change = GetParam();
  const Changed changed(change);
  const auto& good = changed.undo.bytes();
  // Of one file each byte; of the others some, since a byte is hashed like its neighbours.
  const std::size_t step = change.name == "grown_by_nothing" ? 1 : 211;
  for (std::size_t at = 0; at < good.size(); at += at >= blocks_place && at < blocks_place + 64 ? 1 : step) {
    auto bytes = good;
    bytes[at] ^= std::byte{1};
    MemoryDevice image(changed.image.bytes()), undo(bytes);
    const auto undone = take_back(image, undo);
    ASSERT_FALSE(undone) << "byte " << at;
    ASSERT_EQ(undone.error().kind, base::ErrorKind::wrong_format) << at << ": " << undone.error().message;
    ASSERT_EQ(image.bytes() == changed.image.bytes(), true) << at;
    ASSERT_EQ(undo.bytes() == bytes, true) << at;
  }
  for (std::size_t length = 0; length < good.size(); length += 997) {
    auto bytes = good;
    bytes.resize(length);
    MemoryDevice image(changed.image.bytes()), undo(bytes);
    ASSERT_FALSE(take_back(image, undo)) << length;
    ASSERT_EQ(image.bytes() == changed.image.bytes(), true) << length;
  }
  auto longer = good;
  longer.push_back({});
  MemoryDevice image(changed.image.bytes()), undo(longer);
  ASSERT_FALSE(take_back(image, undo));
}

TEST_P(Undo, refuses_an_image_that_was_written_to) {
  const auto& change = GetParam();
  const Changed changed(change);
  std::vector<std::uint64_t> sectors;
  ASSERT_TRUE(each_range(changed.undo, [&](const UndoRange& range) {
    for (auto at = range.begin; at < range.end; at += sector) sectors.push_back(at);
  }));
  for (const auto at : sectors) {
    if (at >= changed.image.size()) continue;  // cut off
    MemoryDevice image(changed.image.bytes()), undo(changed.undo.bytes());
    const auto within = std::min<std::uint64_t>(at + 77, image.size() - 1);
    ASSERT_TRUE(image.write(
        within, pattern(1, at) == Bytes{image.bytes()[within]} ? pattern(1, at + 1) : pattern(1, at)));
    const auto written = image.bytes();
    for (const auto force : {Force::no, Force::yes}) {
      const auto undone = take_back(image, undo, force);
      ASSERT_FALSE(undone) << at;
      ASSERT_EQ(undone.error().kind, base::ErrorKind::usage);
      ASSERT_EQ(image.bytes() == written, true) << at;
      ASSERT_EQ(undo.bytes() == changed.undo.bytes(), true) << at;
    }
  }
  MemoryDevice longer(changed.image.bytes()), undo(changed.undo.bytes());
  ASSERT_TRUE(longer.resize(100'000));
  EXPECT_FALSE(take_back(longer, undo));
}

INSTANTIATE_TEST_SUITE_P(all, Undo, testing::ValuesIn(changes()),
                         [](const auto& tested) { return tested.param.name; });

TEST(UndoFile, says_what_it_is) {
  const Changed changed(changes().front());
  const std::string text(reinterpret_cast<const char*>(changed.undo.bytes().data()), state_place);
  for (const auto* said : {"This is an undo file of cowvet", "disk.qcow2\n",
                           "cowvet undo 'disk.qcow2.cowvet-undo'", "a test", "2023-11-14 22:13:20 UTC"})
    EXPECT_NE(text.find(said), std::string::npos) << said;
  EXPECT_GT(text.find('\0'), 300U);
  base::Progress progress;
  const auto info = read_undo(changed.undo, progress);
  ASSERT_TRUE(info);
  EXPECT_EQ(info->image, "disk.qcow2");
  EXPECT_EQ(info->made, 1'700'000'000U);
  EXPECT_EQ(info->length_before, 65536U);
  EXPECT_EQ(info->sectors, 7U + 1 + 2);
  EXPECT_EQ(info->saved_sectors, info->sectors);
}

TEST(UndoFile, is_not_just_any_file) {
  for (const std::size_t size : {0U, 100U, 12287U, 50'000U}) {
    MemoryDevice image(sample(65536)), undo(pattern(size, 9));
    const auto undone = take_back(image, undo);
    ASSERT_FALSE(undone);
    EXPECT_EQ(undone.error().kind, base::ErrorKind::wrong_format);
  }
  MemoryDevice image(sample(65536)), taken(pattern(10, 1));
  EXPECT_FALSE(apply_change(changes().front(), image, taken)) << "an undo file replaces nothing";
  EXPECT_EQ(taken.size(), 10U);
}

TEST(UndoFile, is_for_one_image) {
  // The other image has the same bytes wherever this one was changed.
  const KnownChange change{"hole", Bytes(65536), {{8192, pattern(512, 2)}}};
  Changed changed(change);
  auto other = Bytes(65536);
  other[5] = std::byte{1};
  MemoryDevice another(other);
  const auto undone = take_back(another, changed.undo);
  ASSERT_FALSE(undone);
  EXPECT_NE(undone.error().message.find("first bytes"), std::string::npos) << undone.error().message;
  EXPECT_EQ(another.bytes() == other, true);
}

// Between the two states there is none that a complete change could be in.
TEST(UndoFile, of_a_complete_change_refuses_half_of_it) {
  const KnownChange change{"two", sample(65536), {{1024, pattern(512, 2)}, {30720, pattern(512, 3)}}};
  Changed changed(change);
  ASSERT_TRUE(changed.image.write(1024, base::ConstBytes(change.before).subspan(1024, 512)));
  EXPECT_FALSE(take_back(changed.image, changed.undo));
}

// Blocks that are sound one by one, in another order.
TEST(UndoFile, refuses_blocks_that_were_exchanged) {
  const KnownChange change{"two", sample(65536), {{1024, pattern(512, 2)}, {30720, pattern(512, 3)}}};
  const Changed changed(change);
  auto bytes = changed.undo.bytes();
  constexpr std::size_t block = 16 + 16 + 512 + 32;
  ASSERT_EQ(bytes.size(), blocks_place + 2 * block);
  std::swap_ranges(bytes.begin() + blocks_place, bytes.begin() + blocks_place + block,
                   bytes.begin() + blocks_place + block);
  MemoryDevice image(changed.image.bytes()), undo(bytes);
  EXPECT_FALSE(take_back(image, undo));
  EXPECT_EQ(image.bytes() == changed.image.bytes(), true);
}

TEST(UndoFile, is_not_published_when_the_image_cannot_be_read) {
  const auto change = changes().front();
  MemoryDevice image(change.before), undo;
  storage::FaultDevice faulty(
      image,
      {{.operation = storage::Fault::Operation::read, .begin = 30000, .end = 30001, .persistent = true}});
  bool published = false;
  const auto applied = apply_change(change, faulty, undo, [&]() -> base::Result<void> {
    published = true;
    return {};
  });
  EXPECT_FALSE(applied);
  EXPECT_FALSE(published);
  EXPECT_EQ(image.bytes() == change.before, true);
}

TEST(UndoFile, that_cannot_be_named_changes_nothing) {
  const auto change = changes().front();
  MemoryDevice image(change.before), undo;
  const auto applied = apply_change(change, image, undo,
                                    [] { return base::Result<void>(base::fail(base::ErrorKind::io, "no")); });
  EXPECT_FALSE(applied);
  EXPECT_EQ(image.bytes() == change.before, true);
}

TEST(Apply, stops_when_asked_and_takes_back_what_it_wrote) {
  class StopsAtWrite final : public storage::Wrapper {
   public:
    StopsAtWrite(storage::Device& under, base::Progress& progress) : Wrapper(under), progress_(progress) {}
    base::Result<void> write(std::uint64_t offset, base::ConstBytes bytes) override {
      progress_.request_stop();
      return under().write(offset, bytes);
    }

   private:
    base::Progress& progress_;
  };
  const auto change = changes().front();
  MemoryDevice image(change.before), undo;
  base::Progress progress;
  StopsAtWrite stopping(image, progress);
  storage::Overlay wanted(image);
  change.make(wanted);
  const auto applied = apply(stopping, wanted, undo, somebody, {}, progress);
  ASSERT_FALSE(applied);
  EXPECT_EQ(applied.error().kind, base::ErrorKind::cancelled);
  EXPECT_EQ(image.bytes() == change.before, true);
  EXPECT_EQ(state_of(undo), UndoState::undone);
}

RC_GTEST_PROP(UndoLaw, undo_after_apply_changes_nothing, ()) {
  auto bytes = pattern(*rc::gen::inRange<std::size_t>(0, 60'000), 1);
  const auto places =
      *rc::gen::container<std::vector<std::uint64_t>>(3, rc::gen::inRange<std::uint64_t>(0, 60'000));
  for (const auto place : places)
    for (auto at = place; at < std::min<std::uint64_t>(bytes.size(), place + 9000); ++at)
      bytes[at] = std::byte{0};
  KnownChange change{"random", bytes, {}};
  for (int step = *rc::gen::inRange(0, 12); step > 0; --step) {
    const auto place = *rc::gen::inRange<std::uint64_t>(0, 70'000);
    if (*rc::gen::inRange(0, 5) == 0)
      change.steps.push_back({place, {}});
    else
      change.steps.push_back({place, *rc::gen::inRange(0, 4) == 0
                                         ? Bytes(*rc::gen::inRange<std::size_t>(1, 6000))
                                         : pattern(*rc::gen::oneOf(rc::gen::inRange<std::size_t>(1, 600),
                                                                   rc::gen::inRange<std::size_t>(1, 9000)),
                                                   static_cast<std::uint64_t>(step) + 9)});
  }
  MemoryDevice image(bytes), undo;
  const auto after = change.after();
  const auto applied = apply_change(change, image, undo);
  RC_ASSERT(applied.has_value());
  RC_ASSERT(applied->changed == (after != bytes));
  RC_ASSERT(image.bytes() == after);
  if (!applied->changed) return;
  RC_ASSERT(take_back(image, undo).has_value());
  RC_ASSERT(image.bytes() == bytes);
}

}  // namespace
}  // namespace cowvet::repair
