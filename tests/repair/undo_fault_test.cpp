// ImageAndUndo that fail: at each call of the image and of the undo file in turn, once and from then on, with
// an error and without a word. A change that fails says so, and undo, once the cause is gone, gives the bytes
// that were there.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "storage/fault.hpp"
#include "tests/repair/changes.hpp"

namespace cowvet::repair {
namespace {

using namespace testing_undo;
using storage::Fault;
using storage::MemoryDevice;

struct Weak {
  Fault fault;
  bool image = false;  // the one that is weak
  [[nodiscard]] std::string name() const {
    return fmt::format("{}: operation {} nth {} persistent {} effect {} error {}",
                       image ? "image" : "undo file", static_cast<int>(fault.operation), fault.nth,
                       fault.persistent, static_cast<int>(fault.effect), fault.os_error);
  }
};

// Calls `run` with each fault, until it strikes no more. `run` returns whether it struck.
void with_each_fault(const std::function<bool(const Weak&)>& run) {
  using Operation = Fault::Operation;
  int runs = 0;
  for (const bool image : {true, false})
    for (const auto operation :
         {Operation::read, Operation::write, Operation::resize, Operation::flush, Operation::discard})
      for (const bool persistent : {false, true})
        for (const auto& [effect, error] :
             {std::pair{Fault::Effect::fail, EIO}, {Fault::Effect::fail, ENOSPC}, {Fault::Effect::cut, 0}}) {
          // A device that says it flushed and did not is for crashes to find: see undo_crash_test.cpp.
          if (effect == Fault::Effect::cut && operation == Operation::flush) continue;
          for (std::uint64_t nth = 1; nth < 200; ++nth, ++runs) {
            const Weak weak{{.operation = operation,
                             .nth = nth,
                             .persistent = persistent,
                             .effect = effect,
                             .os_error = error},
                            image};
            if (!run(weak) || testing::Test::HasFatalFailure()) break;
          }
        }
  EXPECT_GT(runs, 50);
}

struct ImageAndUndo {
  ImageAndUndo(const Bytes& image_bytes, const Bytes& undo_bytes, const Weak& weak)
      : image(image_bytes),
        undo(undo_bytes),
        faulty(weak.image ? static_cast<storage::Device&>(image) : undo, {weak.fault}),
        seen_image(weak.image ? static_cast<storage::Device&>(faulty) : image),
        seen_undo(weak.image ? static_cast<storage::Device&>(undo) : faulty) {}
  MemoryDevice image, undo;
  storage::FaultDevice faulty;
  storage::Device& seen_image;
  storage::Device& seen_undo;
};

class UndoFaults : public testing::TestWithParam<KnownChange> {};

TEST_P(UndoFaults, of_a_change_lose_nothing) {
  const auto& change = GetParam();
  const auto after = change.after();
  with_each_fault([&](const Weak& weak) {
    ImageAndUndo devices(change.before, {}, weak);
    const auto applied = apply_change(change, devices.seen_image, devices.seen_undo);
    const bool struck = devices.faulty.strikes() != 0;
    if (applied) {
      EXPECT_EQ(devices.image.bytes() == after, true) << weak.name();
    } else {
      EXPECT_TRUE(struck) << weak.name() << applied.error().message;
      EXPECT_FALSE(applied.error().message.empty());
    }
    if (devices.image.bytes() == change.before) return struck;
    const auto undone = take_back(devices.image, devices.undo);
    EXPECT_TRUE(undone) << weak.name() << ": " << (applied ? "" : applied.error().message) << ": "
                        << undone.error().message;
    EXPECT_EQ(devices.image.bytes() == change.before, true) << weak.name();
    return struck;
  });
}

TEST_P(UndoFaults, of_taking_back_lose_nothing) {
  const auto& change = GetParam();
  MemoryDevice image(change.before), undo_file;
  ASSERT_TRUE(apply_change(change, image, undo_file));
  with_each_fault([&](const Weak& weak) {
    ImageAndUndo devices(image.bytes(), undo_file.bytes(), weak);
    const auto undone = take_back(devices.seen_image, devices.seen_undo);
    if (undone) {
      EXPECT_EQ(devices.image.bytes() == change.before, true) << weak.name();
    } else {
      EXPECT_NE(devices.faulty.strikes(), 0U) << weak.name();
    }
    const auto again = take_back(devices.image, devices.undo);
    EXPECT_TRUE(again) << weak.name() << again.error().message;
    EXPECT_EQ(devices.image.bytes() == change.before, true) << weak.name();
    return devices.faulty.strikes() != 0;
  });
}

INSTANTIATE_TEST_SUITE_P(all, UndoFaults, testing::ValuesIn(changes()),
                         [](const auto& tested) { return tested.param.name; });

}  // namespace
}  // namespace cowvet::repair
