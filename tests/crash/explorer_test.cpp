// Crash states of all short sequences of operations. Promises: each state opens, a check finds nothing above
// a leak, every sector is what was last flushed or was written since, snapshots are as before or after the
// operation; all that also after one more write, and after doing the operation again. Without COWVET_LONG a
// share of the sequences of two is taken, the same each time; all of three with COWVET_LONG=1
// COWVET_LENGTH=3.
#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <map>
#include <mutex>
#include <string_view>
#include <thread>
#include <unordered_set>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "corpus/builder/recipe.hpp"
#include "model/found.hpp"
#include "storage/memory.hpp"
#include "tests/crash/operations.hpp"
#include "tests/crash/states.hpp"

namespace cowvet::crash {
namespace {

constexpr std::size_t sector = 512;

Bytes content(const engine::Disk& disk) {
  Bytes bytes(static_cast<std::size_t>(disk.size()));
  if (!disk.read(base::GuestOffset{0}, bytes)) bytes.clear();
  return bytes;
}

using Snapshots = std::map<std::string, Bytes>;  // by id
Snapshots snapshots_of(const engine::Qcow2Disk& disk) {
  Snapshots all;
  for (const auto& s : disk.snapshots()) {
    const auto view = disk.snapshot_disk(s.id);
    all[s.id] = view ? content(**view) : Bytes{};
  }
  return all;
}

struct Expected {
  std::vector<Bytes> contents;  // the disk as last flushed, and after each operation since
  Snapshots before, after;
};

// What is wrong with an image; empty: nothing.
std::string misfit(const Bytes& now, const Expected& expected) {
  if (std::ranges::none_of(expected.contents, [&](const Bytes& c) { return c.size() == now.size(); }))
    return fmt::format("a disk of {} bytes", now.size());
  for (std::size_t at = 0; at < now.size(); at += sector) {
    const auto fits = [&](const Bytes& c) {
      return at < c.size() &&
             std::equal(now.begin() + static_cast<std::ptrdiff_t>(at),
                        now.begin() + static_cast<std::ptrdiff_t>(std::min(at + sector, now.size())),
                        c.begin() + static_cast<std::ptrdiff_t>(at));
    };
    if (std::ranges::none_of(expected.contents, fits)) return fmt::format("neither old nor new at {}", at);
  }
  return {};
}

std::string misfit(const Snapshots& now, const Expected& expected) {
  for (const auto& [id, bytes] : now) {
    const auto old = expected.before.find(id), made = expected.after.find(id);
    const bool fits = (old != expected.before.end() && old->second == bytes) ||
                      (made != expected.after.end() && made->second == bytes);
    if (!fits) return fmt::format("snapshot {} reads as never before", id);
  }
  for (const auto& [id, bytes] : expected.before)
    if (expected.after.contains(id) && !now.contains(id)) return fmt::format("snapshot {} is gone", id);
  return {};
}

struct Row {
  std::uint64_t sequences = 0, states = 0, judged = 0, bounded = 0, violations = 0;
};

class Explorer {
 public:
  explicit Explorer(Bounds bounds) : bounds_(bounds) {}

  // Does the sequence, and explores what a crash in its last operation leaves.
  void explore(const Configuration& configuration, const std::vector<const Operation*>& sequence) {
    const auto built = corpus::build(configuration.recipe);
    if (!built) throw std::runtime_error(built.error().message);
    storage::MemoryDevice file(built->file.bytes());
    Bytes before = file.bytes();
    storage::Recorder recorder(file);
    Session session(recorder, configuration.backing);
    if (auto opened = session.open(true); !opened) throw std::runtime_error(opened.error().message);
    Expected expected;
    expected.contents = {content(session.disk())};
    std::size_t first = 0;
    for (const auto* operation : sequence) {
      expected.before = snapshots_of(session.disk());
      first = recorder.events().size();
      const auto done = operation->perform(session);
      if (!done && done.error().kind != base::ErrorKind::usage && done.error().kind != base::ErrorKind::limit)
        return tell(configuration, sequence, "refused: " + done.error().message);
      expected.after = snapshots_of(session.disk());
      if (done && operation->flushes && operation != sequence.back())
        expected.contents = {content(session.disk())};
      else
        expected.contents.push_back(content(session.disk()));
    }
    session.forget();
    std::unordered_set<std::size_t> seen;
    std::uint64_t judged = 0;
    const auto events = recorder.events();
    const auto tried = each_state(before, events, first, bounds_, [&](const Bytes& state) {
      const auto hash =
          std::hash<std::string_view>{}({reinterpret_cast<const char*>(state.data()), state.size()});
      if (!seen.insert(hash).second) return;
      const bool again = judged++ % 3 == 0;
      if (auto wrong = judge(configuration, *sequence.back(), state, expected, again); !wrong.empty())
        tell(configuration, sequence, wrong);
    });
    const std::scoped_lock lock(mutex_);
    auto& row = rows_[sequence.back()->name];
    ++row.sequences;
    row.states += tried.states;
    row.judged += judged;
    row.bounded += tried.bounded;
  }

  void print() const {
    Row all;
    fmt::print("{:24} {:>9} {:>10} {:>10} {:>8} {:>10}\n", "operation", "sequences", "states", "distinct",
               "bounded", "violations");
    const auto line = [](const std::string& name, const Row& r) {
      fmt::print("{:24} {:9} {:10} {:10} {:8} {:10}\n", name, r.sequences, r.states, r.judged, r.bounded,
                 r.violations);
    };
    for (const auto& [name, r] : rows_) {
      line(name, r);
      all.sequences += r.sequences, all.states += r.states, all.judged += r.judged;
      all.bounded += r.bounded, all.violations += r.violations;
    }
    line("all", all);
  }
  [[nodiscard]] const std::vector<std::string>& violations() const { return violations_; }

 private:
  // A state as it was left, after one more write, and after the operation is done again.
  static std::string judge(const Configuration& configuration, const Operation& operation, const Bytes& state,
                           const Expected& expected, bool again) {
    storage::MemoryDevice file(state);
    Session session(file, configuration.backing);
    if (auto opened = session.open(false); !opened) return "does not open: " + opened.error().message;
    const bool dirty = session.disk().header().dirty();  // then the counts are known to be out of date
    if (!dirty)
      if (auto found = model::findings(file, model::Leaks::allowed, true); !found.empty()) return found;
    if (auto wrong = misfit(content(session.disk()), expected); !wrong.empty()) return wrong;
    const auto snapshots = snapshots_of(session.disk());
    if (auto wrong = misfit(snapshots, expected); !wrong.empty()) return wrong;
    const auto finish = [&](std::string_view when) -> std::string {
      if (auto closed = session.disk().close(); !closed)
        return fmt::format("{}: {}", when, closed.error().message);
      auto found = model::findings(file, model::Leaks::allowed, true);
      return found.empty() ? found : fmt::format("{}: {}", when, found);
    };
    if (auto opened = session.open(true); !opened)
      return "does not open for writing: " + opened.error().message;
    auto& disk = session.disk();
    const std::uint64_t length = std::min<std::uint64_t>(disk.size(), 5000);
    if (auto done =
            disk.write(base::GuestOffset{0}, Bytes(static_cast<std::size_t>(length), std::byte{0xee}));
        !done)
      return "one more write: " + done.error().message;
    if (auto found = finish("after one more write"); !found.empty()) return found;
    if (snapshots_of(disk) != snapshots) return "one more write changed a snapshot";
    if (!again) return {};
    storage::MemoryDevice copy(state);
    Session repeated(copy, configuration.backing);
    if (auto opened = repeated.open(true); !opened) return "does not open again: " + opened.error().message;
    if (auto done = operation.perform(repeated);
        !done && done.error().kind != base::ErrorKind::usage && done.error().kind != base::ErrorKind::limit)
      return "done again: " + done.error().message;
    if (auto closed = repeated.disk().close(); !closed) return "done again: " + closed.error().message;
    auto found = model::findings(copy, model::Leaks::allowed, true);
    return found.empty() ? found : "after it was done again: " + found;
  }

  void tell(const Configuration& configuration, const std::vector<const Operation*>& sequence,
            const std::string& what) {
    std::string names;
    for (const auto* o : sequence) names += (names.empty() ? "" : ", ") + o->name;
    const std::scoped_lock lock(mutex_);
    ++rows_[sequence.back()->name].violations;
    if (violations_.size() < 40)
      violations_.push_back(fmt::format("{}: {}: {}", configuration.name, names, what));
  }

  Bounds bounds_;
  std::mutex mutex_;
  std::map<std::string, Row> rows_;
  std::vector<std::string> violations_;
};

std::uint64_t number(const char* variable, std::uint64_t otherwise) {
  const char* text = std::getenv(variable);
  return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

TEST(Crash, sequences_leave_sound_images) {
  const auto all = operations();
  const auto settings = configurations();
  const bool whole = number("COWVET_LONG", 0) != 0;
  const std::uint64_t length = number("COWVET_LENGTH", 2);
  const std::uint64_t share = number("COWVET_SHARE", whole ? 1 : 23);  // one in so many of the longest
  struct Job {
    const Configuration* configuration;
    std::vector<const Operation*> sequence;
  };
  std::vector<Job> jobs;
  for (const auto& configuration : settings) {
    std::vector<std::vector<const Operation*>> sequences{{}};
    for (std::uint64_t n = 1; n <= length; ++n) {
      std::vector<std::vector<const Operation*>> longer;
      for (const auto& sequence : sequences)
        for (const auto& operation : all) {
          longer.push_back(sequence);
          longer.back().push_back(&operation);
        }
      sequences = std::move(longer);
      for (const auto& sequence : sequences)
        if (n < length || jobs.size() % share == 0)
          jobs.push_back({&configuration, sequence});
        else
          jobs.push_back({nullptr, {}});
    }
  }
  Explorer explorer({});
  std::atomic<std::size_t> next = 0;
  const auto work = [&] {
    for (std::size_t i = next++; i < jobs.size(); i = next++)
      if (jobs[i].configuration != nullptr) explorer.explore(*jobs[i].configuration, jobs[i].sequence);
  };
  std::jthread other(work);
  work();
  other.join();
  explorer.print();
  for (const auto& violation : explorer.violations()) ADD_FAILURE() << violation;
}

}  // namespace
}  // namespace cowvet::crash
