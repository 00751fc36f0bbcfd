// What a crash leaves of an operation on a chain. The changes of all files are recorded in one order; each prefix, with
// unflushed changes missing or torn, is a chain that a crash may leave: every layer that should be valid reads as
// before, no file has worse than leaks, and the same operation done again completes it. 40 chains an operation; 2000
// with COWVET_LONG=1.
#include <algorithm>
#include <cstdlib>
#include <set>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "engine/commit.hpp"
#include "engine/rebase.hpp"
#include "tests/engine/chain_files.hpp"
#include "tests/engine/images.hpp"

namespace cowvet::engine {
namespace {

using namespace testing_images;
using storage::Event;

struct Operation {
  std::string name;
  std::size_t layers;
  std::function<base::Result<std::unique_ptr<ChainEdit>>(ChainFiles&)> prepare;
  // Layers whose content may change: those merged but the topmost, and the base.
  std::set<std::size_t> lost = {};
  std::size_t depth = 0;  // of the chain afterwards
  bool rebased = false;   // a file "other" is there
};

std::string top_of(const Operation& o) { return layer_name(o.layers - 1); }

class ChainCrash : public testing::TestWithParam<Operation> {
 protected:
  void judge(const ChainFiles::State& state, const std::string& when);
  void explore(std::uint32_t seed);

  std::vector<Bytes> before_;
  std::set<ChainFiles::State> seen_;
  int states_ = 0;
};

void ChainCrash::judge(const ChainFiles::State& state, const std::string& when) {
  if (!seen_.insert(state).second) return;
  ++states_;
  ChainFiles files(state);
  const auto expect_same = [&](std::string_view stage) {
    for (std::size_t i = 0; i < before_.size(); ++i) {
      if (GetParam().lost.contains(i)) continue;
      ASSERT_TRUE(files.content(layer_name(i)) == before_[i]) << when << stage << ": " << layer_name(i);
    }
  };
  expect_same("");
  if (HasFatalFailure()) return;
  for (const auto& [name, bytes] : state)
    if (bytes.size() >= 4 && bytes[0] == std::byte{'Q'}) {
      ASSERT_EQ(findings(files.file(name), Leaks::allowed), "") << when << ": " << name;
    }
  auto again = GetParam().prepare(files);
  ASSERT_TRUE(again) << when << ": " << again.error().message;
  base::Progress progress;
  const auto done = (*again)->run({.jobs = 1}, progress);
  ASSERT_TRUE(done) << when << ": " << done.error().message;
  expect_same(", done again");
  if (HasFatalFailure()) return;
  const auto chain = files.image(top_of(GetParam()));
  ASSERT_EQ(layers_of(*chain).size(), GetParam().depth) << when << ", done again";
}

void ChainCrash::explore(std::uint32_t seed) {
  std::mt19937 random(seed);
  ChainFiles files;
  make_chain(files, random, {.layers = GetParam().layers, .raw_base = seed % 3 == 0, .small = true});
  if (GetParam().rebased) {
    files.make("other", {.size = (10 + seed % 40) * 512, .cluster_size = 512});
    const auto image = files.image("other", {.writable = true});
    must(image->disk().write(base::GuestOffset{0}, Bytes(4000, std::byte{0xcc})));
    must(image->close());
  }
  before_.clear();
  seen_.clear();
  for (std::size_t i = 0; i < GetParam().layers; ++i) before_.push_back(files.content(layer_name(i)));
  const auto start = files.state();
  files.record();
  base::Progress progress;
  must(must(GetParam().prepare(files))->run({.jobs = 1}, progress));
  const std::vector<ChainFiles::Change> changes(files.changes());
  for (std::size_t end = 0; end <= changes.size() && !HasFatalFailure(); ++end) {
    const auto prefix = std::span(changes).first(end);
    const auto name = [&](std::string_view how) {
      return fmt::format("seed {}: {} after {} of {} changes{}", seed, GetParam().name, end, changes.size(),
                         how);
    };
    judge(replay(start, prefix, [](std::size_t) { return true; }), name(""));
    if (end == 0) continue;
    if (const auto& last = prefix.back().event; last.kind == Event::Kind::write && last.bytes.size() > 512) {
      auto torn = std::vector<ChainFiles::Change>(prefix.begin(), prefix.end());
      torn.back().event.bytes.resize((1 + random() % (last.bytes.size() / 512)) * 512);
      judge(replay(start, torn, [](std::size_t) { return true; }), name(", torn"));
    }
    if (end != changes.size() && changes[end].event.kind != Event::Kind::flush) continue;
    judge(replay(start, prefix, [](std::size_t) { return false; }), name(", none unflushed"));
    for (int i = 0; i < 6 && !HasFatalFailure(); ++i) {
      const auto salt = random();
      judge(replay(start, prefix,
                   [&](std::size_t k) {
                     return (std::hash<std::size_t>{}(k * 2654435761U ^ salt) >> 7 & 1U) != 0;
                   }),
            name(fmt::format(", random part {}", i)));
    }
  }
}

TEST_P(ChainCrash, LosesNothing) {
  const auto* const longer = std::getenv("COWVET_LONG");
  const std::uint32_t seeds = longer != nullptr && std::string_view(longer) == "1" ? 2000 : 40;
  for (std::uint32_t seed = 1; seed <= seeds && !HasFatalFailure(); ++seed) explore(seed);
  RecordProperty("states", states_);
}

Operation commit(std::string name, std::size_t layers, std::size_t base, std::size_t top, bool keep = false) {
  Operation o{.name = std::move(name), .layers = layers, .prepare = {}};
  for (std::size_t i = base; i < top; ++i) o.lost.insert(i);
  const bool active = top + 1 == layers;
  o.depth = active ? layers : layers - (top - base);
  o.prepare = [=](ChainFiles& files) {
    CommitRequest request{.base = layer_name(base), .keep = keep};
    if (!active) request.top = layer_name(top);
    return prepare_commit(files.image(layer_name(layers - 1)), request, {}, files.open());
  };
  return o;
}

Operation pull(std::string name, std::size_t layers, std::optional<std::size_t> base) {
  Operation o{.name = std::move(name), .layers = layers, .prepare = {}, .depth = base ? *base + 2 : 1};
  o.prepare = [=](ChainFiles& files) {
    PullRequest request;
    // Once it is done, there is nothing below that could be named.
    auto image = files.image(layer_name(layers - 1));
    if (base) request.base = layer_name(*base);
    return prepare_pull(std::move(image), request, {}, files.open());
  };
  return o;
}

Operation rebase(std::string name, std::size_t layers, std::string backing, std::size_t depth) {
  Operation o{.name = std::move(name), .layers = layers, .prepare = {}, .depth = depth, .rebased = true};
  o.prepare = [layers, backing = std::move(backing)](ChainFiles& files) {
    RebaseRequest request{.backing = backing, .format = backing.empty() ? "" : "qcow2"};
    return prepare_rebase(files.image(layer_name(layers - 1)), request, {}, files.open());
  };
  return o;
}

INSTANTIATE_TEST_SUITE_P(all, ChainCrash,
                         testing::Values(commit("commit", 2, 0, 1), commit("commit_and_keep", 2, 0, 1, true),
                                         commit("commit_active_into_the_lowest", 4, 0, 3),
                                         commit("commit_a_middle_layer", 4, 1, 2),
                                         commit("commit_a_middle_range", 5, 0, 3), pull("pull_a_part", 4, 1),
                                         pull("flatten", 3, {}), rebase("rebase", 3, "other", 2),
                                         rebase("rebase_onto_nothing", 3, "", 1)),
                         [](const auto& tested) { return tested.param.name; });

}  // namespace
}  // namespace cowvet::engine
