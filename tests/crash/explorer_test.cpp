// Crash states of all short sequences of operations. Promises: each state opens, a check finds nothing above
// a leak, every sector is what was last flushed or was written since, snapshots are as before or after the
// operation; all that also after one more write, and after doing the operation again. Without COWVET_LONG a
// share of the sequences of two is taken, the same each time; all of three with COWVET_LONG=1
// COWVET_LENGTH=3, or, with COWVET_SHARE=N COWVET_PART=P, part P of N of them (N prime to 24).
#include <algorithm>
#include <atomic>
#include <map>
#include <mutex>
#include <string_view>
#include <thread>
#include <unordered_set>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "corpus/builder/recipe.hpp"
#include "storage/memory.hpp"
#include "tests/crash/judge.hpp"
#include "tests/crash/states.hpp"

namespace cowvet::crash {
namespace {

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
      if (!seen.insert(hash_of(state)).second) return;
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

// What longer runs found.
TEST(Crash, sequences_that_once_failed) {
  const std::pair<std::string_view, std::vector<std::string_view>> once[] = {
      // The old L1 table, given up by growing, passed for a lost one when its cluster was used again.
      {"1 bit", {"widen refcounts", "grow", "snapshot"}},
      // A table of zeros, given up by shrinking, passed for one of which an older snapshot had lost the entry.
      {"backing", {"discard all", "snapshot", "shrink"}}};
  const auto all = operations();
  const auto settings = configurations();
  Explorer explorer({});
  for (const auto& [setting, names] : once) {
    std::vector<const Operation*> sequence;
    for (const auto name : names) sequence.push_back(&*std::ranges::find(all, name, &Operation::name));
    explorer.explore(*std::ranges::find(settings, setting, &Configuration::name), sequence);
  }
  for (const auto& violation : explorer.violations()) ADD_FAILURE() << violation;
}

TEST(Crash, sequences_leave_sound_images) {
  const auto all = operations();
  const auto settings = configurations();
  const bool whole = number("COWVET_LONG", 0) != 0;
  const std::uint64_t length = number("COWVET_LENGTH", 2);
  const std::uint64_t share = number("COWVET_SHARE", whole ? 1 : 23);  // one in so many of the longest
  const std::uint64_t part = number("COWVET_PART", 0);  // which one; shorter ones come with the first
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
        if (n < length ? part == 0 : jobs.size() % share == part)
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
