// Crash states of short sequences of operations on chains, over all files of the chain. Promises: on each
// state every layer that is still promised to be valid reads as before, no file has worse than leaks, one
// more write into the active layer changes no other one; the operation done again ends as it does without a
// crash. Short: a share of single operations and of sequences of two; COWVET_LONG=1: all of both;
// COWVET_SHARE=N one in N of two.
#include <atomic>
#include <map>
#include <mutex>
#include <thread>
#include <unordered_set>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "model/found.hpp"
#include "tests/crash/chain_operations.hpp"
#include "tests/crash/chain_states.hpp"

namespace cowvet::crash {
namespace {

using State = ChainFiles::State;

struct Shown {
  Bytes content;
  std::string backing;
  friend bool operator==(const Shown&, const Shown&) = default;
};
using Contents = std::map<std::string, Shown>;

constexpr std::string_view names[] = {"l0", "l1", "l2", "other", "new"};

std::optional<Shown> shown(ChainFiles& files, const std::string& name) {
  auto image = engine::open_image(name, {.secret = "key"}, files.open());
  if (!image) return std::nullopt;
  Bytes bytes(static_cast<std::size_t>((*image)->disk().size()));
  if (!(*image)->disk().read(base::GuestOffset{0}, bytes)) return std::nullopt;
  auto* const qcow2 = (*image)->qcow2();
  return Shown{std::move(bytes), qcow2 != nullptr ? qcow2->backing_name().value_or("") : ""};
}

Contents contents(ChainFiles& files, const std::vector<std::string>& without) {
  Contents all;
  for (const auto name : names) {
    const std::string file(name);
    if (std::ranges::find(without, file) != without.end()) continue;
    if (auto one = shown(files, file)) all[file] = std::move(*one);
  }
  return all;
}

// Whether each sector is one or the other's.
bool mixed_of(const Bytes& now, const Bytes& one, const Bytes& other) {
  constexpr std::size_t sector = 512;
  if (now.size() != one.size() || now.size() != other.size()) return false;
  for (std::size_t at = 0; at < now.size(); at += sector) {
    const std::size_t length = std::min(sector, now.size() - at);
    const auto same = [&](const Bytes& with) { return std::equal(&now[at], &now[at] + length, &with[at]); };
    if (!same(one) && !same(other)) return false;
  }
  return true;
}

std::string findings(ChainFiles& files) {
  for (const auto& [name, bytes] : files.state()) {
    if (bytes.size() < 4 || bytes[0] != std::byte{'Q'} || bytes[1] != std::byte{'F'}) continue;
    const auto header = format::decode_header(bytes);
    if (!header || header->dirty()) continue;  // then the counts are known to be out of date
    const auto data_file = name + ".data";
    if (auto found = model::findings(files.file(name), model::Leaks::allowed, false,
                                     files.has(data_file) ? &files.file(data_file) : nullptr);
        !found.empty())
      return fmt::format("{}: {}", name, found);
  }
  return {};
}

struct Job {
  const Shape* shape = nullptr;
  std::vector<const ChainOperation*> sequence;
  [[nodiscard]] std::string name() const {
    std::string text = shape->name + ": ";
    for (const auto* operation : sequence) text += (text.ends_with(": ") ? "" : ", ") + operation->name;
    return text;
  }
};

// The last step of a sequence, with what was before and is after it.
class Judge {
 public:
  Judge(Step step, Contents before, Contents after)
      : step_(std::move(step)), before_(std::move(before)), after_(std::move(after)) {}

  // What is wrong with a state; empty: nothing. Whatever stops us is wrong, too.
  [[nodiscard]] std::string operator()(const State& state, bool further) const {
    try {
      ChainFiles files(state);
      if (auto wrong = as_before(files); !wrong.empty()) return wrong;
      if (auto wrong = findings(files); !wrong.empty()) return wrong;
      if (auto done = step_.perform(files); !done) return "done again: " + done.error().message;
      if (auto wrong = findings(files); !wrong.empty()) return "done again: " + wrong;
      for (const auto& [name, wanted] : after_)
        if (const auto now = shown(files, name); !now || *now != wanted) return "done again: " + name;
      return further ? one_more_write(state) : "";
    } catch (const std::exception& error) {
      return error.what();
    }
  }

 private:
  [[nodiscard]] std::string as_before(ChainFiles& files) const {
    for (const auto& [name, old] : before_) {
      const auto now = shown(files, name);
      if (!now) return name + " can't be read";
      const auto& later = after_.contains(name) ? after_.at(name) : old;
      const bool active = name == step_.active;
      const bool fits =
          step_.partial && active
              ? mixed_of(now->content, old.content, later.content)
              : now->content == old.content || (step_.renames && active && now->content == later.content);
      if (!fits) return name + " reads as never before";
    }
    // What is made is not there, or whole.
    if (step_.makes_new)
      if (const auto now = shown(files, "new"); now && files.file("new").size() != 0 &&
                                                files.file("new").bytes()[0] == std::byte{'Q'} &&
                                                *now != after_.at("new"))
        return "a half-made overlay passes for a whole one";
    return {};
  }

  [[nodiscard]] std::string one_more_write(const State& state) const {
    ChainFiles files(state);
    if (step_.makes_new) return {};  // it may not be there
    const auto& active = step_.active;
    auto spared = step_.spoiled;
    spared.push_back(active);
    const auto others = contents(files, spared);
    {
      const auto image = files.image(active, {.writable = true});
      if (!image->disk().write(base::GuestOffset{300}, Bytes(5000, std::byte{0xee})) || !image->close())
        return "one more write fails";
    }
    if (auto wrong = findings(files); !wrong.empty()) return "one more write: " + wrong;
    return contents(files, spared) == others ? "" : "one more write changed another layer";
  }

  Step step_;
  Contents before_, after_;
};

struct ChainRow {
  std::uint64_t sequences = 0, refused = 0, states = 0, judged = 0, bounded = 0, violations = 0;
};

class ChainExplorer {
 public:
  void explore(const Job& job) {
    ChainFiles files;
    job.shape->make(files);
    std::string active = engine::testing_images::layer_name(job.shape->layers - 1);
    std::vector<std::string> invalid;
    std::optional<Step> step;
    Contents before;
    State start;
    for (std::size_t i = 0; i < job.sequence.size(); ++i) {
      step = job.sequence[i]->bind(files, active);
      const bool last = i + 1 == job.sequence.size();
      if (!step) return note(job, {.refused = 1});
      auto spoiled = step->spoiled;
      spoiled.insert(spoiled.end(), invalid.begin(), invalid.end());
      before = contents(files, spoiled);
      start = files.state();
      if (last) files.record();
      if (const auto done = step->perform(files); !done) return tell(job, "refused: " + done.error().message);
      invalid.insert(invalid.end(), step->invalid.begin(), step->invalid.end());
      active = step->active;
    }
    auto after = contents(files, invalid);
    const Judge judge(*step, std::move(before), std::move(after));
    std::unordered_set<std::size_t> seen;
    ChainRow row{.sequences = 1};
    const auto tried = each_chain_state(start, files.changes(), {}, [&](const State& state) {
      std::size_t hash = 0;
      for (const auto& [name, bytes] : state) hash = hash * 31 + hash_of(bytes);
      if (!seen.insert(hash).second) return;
      const bool further = row.judged++ % 3 == 0;
      if (auto wrong = judge(state, further); !wrong.empty()) {
        ++row.violations;
        tell(job, wrong);
      }
    });
    row.states = tried.states;
    row.bounded = tried.bounded;
    note(job, row);
  }

  void print() const {
    const auto line = [](const std::string& name, const ChainRow& r) {
      fmt::print("{:24} {:9} {:8} {:10} {:10} {:8} {:10}\n", name, r.sequences, r.refused, r.states, r.judged,
                 r.bounded, r.violations);
    };
    fmt::print("{:24} {:>9} {:>8} {:>10} {:>10} {:>8} {:>10}\n", "operation", "sequences", "senseless",
               "states", "distinct", "bounded", "violations");
    ChainRow all;
    for (const auto& [name, row] : rows_) {
      line(name, row);
      add(all, row);
    }
    line("all", all);
  }
  [[nodiscard]] const std::vector<std::string>& violations() const { return violations_; }
  [[nodiscard]] bool saw_enough() const {
    const std::scoped_lock lock(mutex_);
    return violations_.size() >= most_told;
  }

 private:
  static void add(ChainRow& to, const ChainRow& row) {
    to.sequences += row.sequences, to.refused += row.refused, to.states += row.states,
        to.judged += row.judged;
    to.bounded += row.bounded, to.violations += row.violations;
  }
  void note(const Job& job, const ChainRow& row) {
    const std::scoped_lock lock(mutex_);
    add(rows_[job.sequence.back()->name], row);
  }
  void tell(const Job& job, const std::string& what) {
    const std::scoped_lock lock(mutex_);
    if (violations_.size() < most_told) violations_.push_back(job.name() + ": " + what);
  }

  static constexpr std::size_t most_told = 20;
  mutable std::mutex mutex_;
  std::map<std::string, ChainRow> rows_;
  std::vector<std::string> violations_;
};

TEST(ChainCrashes, leave_every_layer_as_it_was) {
  const auto chains = shapes();
  const auto operations = chain_operations();
  const bool whole = number("COWVET_LONG", 0) != 0;
  const std::uint64_t share = number("COWVET_SHARE", whole ? 1 : 115);
  std::vector<Job> jobs;
  std::size_t singles = 0, pairs = 0;
  for (const auto& shape : chains)
    for (const auto& first : operations) {
      if (whole || (singles++ % 5 < 3 && (!shape.slow || &first == &operations.front())))
        jobs.push_back({&shape, {&first}});
      for (const auto& second : operations)
        if (pairs++ % share == 0 && (whole || !shape.slow)) jobs.push_back({&shape, {&first, &second}});
    }
  ChainExplorer explorer;
  std::atomic<std::size_t> next = 0;
  const auto work = [&] {
    for (std::size_t i = next++; i < jobs.size() && !explorer.saw_enough(); i = next++)
      explorer.explore(jobs[i]);
  };
  std::jthread other(work);
  work();
  other.join();
  explorer.print();
  for (const auto& violation : explorer.violations()) ADD_FAILURE() << violation;
}

}  // namespace
}  // namespace cowvet::crash
