// Short writes: each write of each operation stops in turn at a border of sectors and says that it failed,
// once or from then on. Promises: whether the program ends at once or closes the image as it should, what is
// left is judged as what a crash leaves; and done again, the operation succeeds.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "corpus/builder/recipe.hpp"
#include "format/geometry.hpp"
#include "storage/fault.hpp"
#include "storage/memory.hpp"
#include "tests/crash/judge.hpp"

namespace cowvet::crash {
namespace {

using storage::Event;
using storage::Fault;

using format::limits::sector;

struct Done {
  bool accepted = false;  // the operation makes sense here
  Expected expected;
  std::vector<Event> events;
};

// The operation without a fault: what must be, and where it writes.
Done undisturbed(const Configuration& configuration, const Operation& operation, const Bytes& image) {
  storage::MemoryDevice file(image);
  storage::Recorder recorder(file);
  Session session(recorder, configuration.backing);
  if (!session.open(true)) return {};
  Done done;
  done.expected.contents = {content(session.disk())};
  done.expected.before = snapshots_of(session.disk());
  done.accepted = operation.perform(session).has_value();
  done.expected.contents.push_back(content(session.disk()));
  done.expected.after = snapshots_of(session.disk());
  done.accepted = done.accepted && session.disk().close();
  done.events = recorder.events();
  return done;
}

std::uint64_t end_of(const Event& e) {
  return e.position + (e.kind == Event::Kind::zero ? e.length : e.bytes.size());
}
bool writes(const Event& e) { return e.kind == Event::Kind::write || e.kind == Event::Kind::zero; }

class ShortWrites : public testing::TestWithParam<Configuration> {
 protected:
  void hurt(const Operation& operation, const Bytes& image, const Done& whole, const Fault& fault,
            const std::string& name) {
    for (const bool closes : {false, true}) {
      storage::MemoryDevice file(image);
      storage::FaultDevice faulty(file, {fault});
      Session session(faulty, GetParam().backing);
      if (session.open(true)) {
        (void)operation.perform(session);
        if (closes && session.is_open()) (void)session.disk().close();
      }
      session.forget();
      if (faulty.strikes() == 0) return;
      ++runs_;
      const auto wrong = judge(GetParam(), operation, file.bytes(), whole.expected, true);
      EXPECT_EQ(wrong, "") << name << (closes ? ", then closed" : "");
    }
  }
  int runs_ = 0;
};

TEST_P(ShortWrites, LoseNothing) {
  const auto built = corpus::build(GetParam().recipe);
  ASSERT_TRUE(built) << built.error().message;
  const auto image = built->file.bytes();
  for (const auto& operation : operations()) {
    const auto whole = undisturbed(GetParam(), operation, image);
    if (!whole.accepted) continue;
    for (std::size_t i = 0; i < whole.events.size(); ++i) {
      const auto& event = whole.events[i];
      const std::uint64_t first = (event.position / sector + 1) * sector, end = end_of(event);
      if (!writes(event) || first >= end) continue;
      const std::uint64_t middle = (event.position + end) / 2 / sector * sector;
      for (const std::uint64_t border : {first, middle}) {
        std::uint64_t nth = 1;
        for (std::size_t before = 0; before < i; ++before) {
          const auto& other = whole.events[before];
          if (writes(other) && other.position < end && end_of(other) > border) ++nth;
        }
        for (const bool persistent : {false, true})
          hurt(operation, image, whole,
               {.operation = Fault::Operation::write,
                .begin = border,
                .end = end,
                .nth = nth,
                .persistent = persistent,
                .os_error = ENOSPC},
               fmt::format("{}: write {} of [{:#x}, {:#x}) stops at {:#x}{}", operation.name, i,
                           event.position, end, border, persistent ? ", and so do later ones" : ""));
        if (middle <= first) break;
      }
    }
  }
  EXPECT_GE(runs_, 12);  // small clusters are written a sector at a time
  fmt::print("{}: {} short writes\n", GetParam().name, runs_);
}

INSTANTIATE_TEST_SUITE_P(All, ShortWrites, testing::ValuesIn(configurations()), [](const auto& tested) {
  std::string name = tested.param.name;
  std::erase_if(name, [](char c) { return std::isalnum(static_cast<unsigned char>(c)) == 0; });
  return name;
});

}  // namespace
}  // namespace cowvet::crash
