// Crashes at every write, and between the sectors of every write, with what was not flushed missing in any combination:
// while a change is made, and while it is taken back. Whatever is left, undo gives the bytes that were there.
//
// Image and undo file are two devices. The order between them rests on one law, which is checked first: neither is
// written to while the other one has something that is not durable. So each state has one device that the crash hurt.
#include <functional>
#include <set>

#include <gtest/gtest.h>

#include "repair/undo.hpp"
#include "storage/recorder.hpp"
#include "tests/crash/states.hpp"
#include "tests/repair/changes.hpp"

namespace cowvet::repair {
namespace {

using namespace testing_undo;
using storage::Event;
using storage::MemoryDevice;

// What was done to both devices, in one order.
struct Traced {
  bool to_image = false;
  Event event;
};

class Teller final : public storage::Wrapper {
 public:
  Teller(storage::Device& under, bool is_image, std::vector<Traced>& all)
      : Wrapper(under), is_image_(is_image), all_(all) {}
  base::Result<void> write(std::uint64_t offset, base::ConstBytes bytes) override {
    all_.push_back({is_image_, {Event::Kind::write, offset, {bytes.begin(), bytes.end()}, 0}});
    return under().write(offset, bytes);
  }
  base::Result<void> resize(std::uint64_t size) override {
    all_.push_back({is_image_, {Event::Kind::resize, size, {}, 0}});
    return under().resize(size);
  }
  base::Result<void> flush() override {
    all_.push_back({is_image_, {Event::Kind::flush, 0, {}, 0}});
    return under().flush();
  }
  base::Result<void> discard(std::uint64_t offset, std::uint64_t length) override {
    all_.push_back({is_image_, {Event::Kind::discard, offset, {}, length}});
    return under().discard(offset, length);
  }

 private:
  bool is_image_;
  std::vector<Traced>& all_;
};

using Visit = std::function<void(const Bytes& image, const Bytes& undo)>;

// Visits all states that a crash during `all` may leave.
void each_crash(Bytes image, Bytes undo, const std::vector<Traced>& all, const Visit& visit) {
  for (std::size_t begin = 0; begin < all.size();) {
    const bool to_image = all[begin].to_image;
    std::vector<Event> run;
    auto end = begin;
    for (; end < all.size() && all[end].to_image == to_image; ++end) run.push_back(all[end].event);
    // The law. At the very end nothing may be left either.
    ASSERT_EQ(run.back().kind, Event::Kind::flush) << "event " << end << " of " << all.size();
    auto& device = to_image ? image : undo;
    crash::each_state(device, run, 0, {},
                      [&](const Bytes& bytes) { to_image ? visit(bytes, undo) : visit(image, bytes); });
    for (const auto& event : run) crash::put(device, event);
    begin = end;
  }
}

// Does it, and tells what was done.
std::vector<Traced> recorded(MemoryDevice& image, MemoryDevice& undo,
                             const std::function<bool(storage::Device&, storage::Device&)>& work) {
  std::vector<Traced> all;
  Teller image_teller(image, true, all), undo_teller(undo, false, all);
  if (!work(image_teller, undo_teller)) throw std::runtime_error("the work failed");
  return all;
}

class UndoCrash : public testing::TestWithParam<KnownChange> {
 protected:
  // The state is one from which the bytes come back, by the next repair or by the user.
  void judge(const Bytes& image_bytes, const Bytes& undo_bytes);

  std::set<std::pair<Bytes, Bytes>> seen_;
  std::size_t hurt_ = 0;  // states in which the image was neither as before nor as after
};

void UndoCrash::judge(const Bytes& image_bytes, const Bytes& undo_bytes) {
  if (HasFatalFailure() || !seen_.emplace(image_bytes, undo_bytes).second) return;
  const auto& change = GetParam();
  const auto after = change.after();
  MemoryDevice image(image_bytes), undo_file(undo_bytes);
  if (image_bytes != change.before && image_bytes != after) ++hurt_;
  const auto reader = UndoReader::open(undo_file);
  const auto whole = [&] {
    base::Progress progress;
    return read_undo(undo_file, progress).has_value();
  };
  if (!reader || !whole()) {
    ASSERT_EQ(image_bytes == change.before, true) << "the image was changed before its undo file was whole";
    return;
  }
  const auto state = reader->info().state;
  if (state == UndoState::complete) {
    ASSERT_EQ(image_bytes == after, true);
  }
  if (state == UndoState::undone) {
    ASSERT_EQ(image_bytes == change.before, true);
  }
  const auto recovered = recover_from(image, undo_file);
  ASSERT_TRUE(recovered) << recovered.error().message;
  ASSERT_EQ(*recovered, interrupted(state));
  const auto undone = take_back(image, undo_file);
  ASSERT_TRUE(undone) << undone.error().message;
  ASSERT_EQ(undone->already, *recovered || state == UndoState::undone);
  ASSERT_EQ(image.bytes() == change.before, true);
}

TEST_P(UndoCrash, while_changing_loses_nothing) {
  const auto& change = GetParam();
  MemoryDevice image(change.before), undo_file;
  const auto all =
      recorded(image, undo_file, [&](auto& i, auto& u) { return apply_change(change, i, u).has_value(); });
  each_crash(change.before, {}, all, [&](const Bytes& i, const Bytes& u) { judge(i, u); });
  EXPECT_GT(seen_.size(), 10U);
  RecordProperty("states", static_cast<int>(seen_.size()));
  RecordProperty("hurt", static_cast<int>(hurt_));
}

TEST_P(UndoCrash, while_taking_back_loses_nothing) {
  const auto& change = GetParam();
  MemoryDevice image(change.before), undo_file;
  ASSERT_TRUE(apply_change(change, image, undo_file));
  const auto start = image.bytes(), kept = undo_file.bytes();
  const auto all = recorded(image, undo_file, [&](auto& i, auto& u) { return take_back(i, u).has_value(); });
  each_crash(start, kept, all, [&](const Bytes& i, const Bytes& u) { judge(i, u); });
  EXPECT_GE(seen_.size(), 4U);
}

// A crash of the change, and one of what recovers from it.
TEST_P(UndoCrash, twice_loses_nothing) {
  const auto& change = GetParam();
  MemoryDevice image(change.before), undo_file;
  const auto all =
      recorded(image, undo_file, [&](auto& i, auto& u) { return apply_change(change, i, u).has_value(); });
  std::vector<std::pair<Bytes, Bytes>> hurt;
  each_crash(change.before, {}, all, [&](const Bytes& i, const Bytes& u) {
    if (i != change.before && i != change.after()) hurt.emplace_back(i, u);
  });
  const std::size_t step = hurt.size() / 6 + 1;
  for (std::size_t at = 0; at < hurt.size() && !HasFatalFailure(); at += step) {
    MemoryDevice left(hurt[at].first), left_undo(hurt[at].second);
    const auto again =
        recorded(left, left_undo, [&](auto& i, auto& u) { return recover_from(i, u).has_value(); });
    each_crash(hurt[at].first, hurt[at].second, again, [&](const Bytes& i, const Bytes& u) { judge(i, u); });
  }
}

INSTANTIATE_TEST_SUITE_P(all, UndoCrash, testing::ValuesIn(changes()),
                         [](const auto& tested) { return tested.param.name; });

}  // namespace
}  // namespace cowvet::repair
