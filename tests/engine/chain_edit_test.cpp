// Commit, rebase and pull on generated chains: every layer that should still be valid reads as before, the
// base of a commit as the range that was merged into it, and no file has a fault. 300 chains an operation; 20
// 000 with COWVET_LONG=1, others with COWVET_SEED=N.
#include <algorithm>
#include <cstdlib>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "engine/commit.hpp"
#include "engine/rebase.hpp"
#include "tests/engine/chain_files.hpp"
#include "tests/engine/images.hpp"

namespace cowvet::engine {
namespace {

using namespace testing_images;

std::uint32_t number(const char* variable, std::uint32_t otherwise) {
  const char* text = std::getenv(variable);
  return text != nullptr ? static_cast<std::uint32_t>(std::strtoul(text, nullptr, 10)) : otherwise;
}

class ChainEdits : public testing::Test {
 protected:
  // A new chain for each seed.
  void each(const std::function<void(std::mt19937&)>& test) {
    const auto first = number("COWVET_SEED", 1);
    const std::uint32_t count = number("COWVET_LONG", 0) == 1 ? 20'000 : 300;
    for (auto seed = first; seed < first + count && !HasFailure(); ++seed) {
      const testing::ScopedTrace trace(__FILE__, __LINE__, fmt::format("seed {}", seed));
      std::mt19937 random(seed);
      ChainFiles files;
      variety_ = {.layers = 2 + random() % 4, .raw_base = random() % 3 == 0};
      make_chain(files, random, variety_);
      files_ = &files;
      before_.clear();
      for (std::size_t i = 0; i < variety_.layers; ++i) before_.push_back(files.content(layer_name(i)));
      test(random);
    }
  }
  [[nodiscard]] std::string top() const { return layer_name(variety_.layers - 1); }
  void expect_same(std::size_t layer) {
    EXPECT_TRUE(files_->content(layer_name(layer)) == before_[layer]) << layer_name(layer);
  }
  void expect_sound() {
    for (const auto& [name, bytes] : files_->state()) {
      if (name.ends_with(".data") || (name == "l0" && variety_.raw_base)) continue;
      EXPECT_EQ(findings(files_->file(name)), "") << name;
    }
  }
  void must_run(base::Result<std::unique_ptr<ChainEdit>> edit) {
    const auto prepared = must(std::move(edit));
    plan_ = prepared->plan();
    base::Progress progress;
    const auto old = files_->state();
    must(prepared->run({.jobs = 2}, progress));
    for (const auto& [name, bytes] : files_->state()) {
      const auto need = std::ranges::find(plan_.needs, name, &SpaceNeed::file);
      const std::uint64_t allowed = need != plan_.needs.end() ? need->bytes : 0;
      EXPECT_LE(bytes.size(), old.at(name).size() + allowed + growth_) << name;
    }
  }
  ChainFiles* files_ = nullptr;
  Variety variety_;
  std::vector<Bytes> before_;  // content, from the lowest layer
  EditPlan plan_;
  std::uint64_t growth_ = 0;  // of files, apart from what the plan says
  const ChainOptions chain_{.secret = "key"};
};

TEST_F(ChainEdits, CommitOfAnyRangeIntoAnyLayer) {
  each([&](std::mt19937& random) {
    const std::size_t t = 1 + random() % (variety_.layers - 1);
    const std::size_t b = random() % t;
    const bool active = t + 1 == variety_.layers;
    CommitRequest request{.base = layer_name(b), .keep = random() % 2 == 0};
    if (!active) request.top = layer_name(t);
    if (b + 1 == t && random() % 2 == 0) request.base.reset();
    growth_ = before_[t].size() > before_[b].size() ? before_[t].size() - before_[b].size() : 0;
    const auto base_before = before_[b];
    must_run(prepare_commit(files_->image(top()), request, chain_, files_->open()));
    for (std::size_t i = active ? t : t + 1; i < variety_.layers; ++i) expect_same(i);
    for (std::size_t i = 0; i < b; ++i) expect_same(i);
    // The base shows what the range's top showed; behind its end what it had, unless that would come to light above.
    const auto base = files_->content(layer_name(b));
    ASSERT_EQ(base.size(), std::max(before_[t].size(), before_[b].size()));
    EXPECT_TRUE(std::ranges::equal(base::ConstBytes(base).first(before_[t].size()), before_[t]));
    const std::size_t hidden = active ? 0 : before_[t + 1].size();
    for (std::size_t at = before_[t].size(); at < base.size(); ++at)
      ASSERT_EQ(base[at], at < hidden ? std::byte{0} : base_before[at]) << at;
    expect_sound();
    EXPECT_EQ(plan_.changed, std::vector{layer_name(b)});
    EXPECT_EQ(plan_.after.size(), active ? variety_.layers : variety_.layers - (t - b));
    const auto now = files_->image(top());
    ASSERT_EQ(layers_of(*now).size(), plan_.after.size());
    for (std::size_t i = 0; i < plan_.after.size(); ++i) {
      EXPECT_EQ(layers_of(*now)[i]->file(), plan_.after[i].file);
      EXPECT_EQ(layers_of(*now)[i]->disk().size(), plan_.after[i].size);
      EXPECT_EQ(layers_of(*now)[i]->format(), plan_.after[i].format);
    }
    if (active && b + 1 == t && !request.keep) {
      EXPECT_FALSE(must(now->disk().extent(base::GuestOffset{0}, now->disk().size())).allocated);
    }
  });
}

TEST_F(ChainEdits, PullIntoAnyLayer) {
  each([&](std::mt19937& random) {
    const std::size_t t = 1 + random() % (variety_.layers - 1);
    const std::size_t b = random() % (t + 1);  // t: nothing below stays
    PullRequest request{.compress = random() % 3 == 0};
    if (b != t) request.base = layer_name(b);
    const auto image = files_->image(layer_name(t));
    if (image->qcow2()->header().external_data_file() || image->qcow2()->header().v2.crypt_method != 0)
      request.compress = false;
    growth_ = 0;
    must_run(prepare_pull(files_->image(layer_name(t)), request, chain_, files_->open()));
    for (std::size_t i = 0; i < variety_.layers; ++i) expect_same(i);
    expect_sound();
    EXPECT_EQ(layers_of(*files_->image(layer_name(t))).size(), b == t ? 1 : b + 2);
  });
}

TEST_F(ChainEdits, RebaseOntoAnyOtherChain) {
  each([&](std::mt19937& random) {
    const std::size_t t = random() % variety_.layers;
    if (t == 0 && variety_.raw_base) return;
    // Another chain, which has some of the same content, or a layer of the old one.
    const auto other = random() % 4;
    RebaseRequest request;
    request.compress = random() % 3 == 0;
    if (other == 0 && t > 0) {
      const std::size_t b = random() % t;
      request.backing = layer_name(b);
      request.format = b == 0 && variety_.raw_base ? "raw" : "qcow2";
    } else if (other != 1) {
      files_->make("other", {.size = (1 + random() % 500) * 512, .cluster_size = 4096});
      const auto image = files_->image("other", {.writable = true});
      const auto& like = before_[random() % variety_.layers];
      must(image->disk().write(base::GuestOffset{0}, base::ConstBytes(like).first(std::min<std::size_t>(
                                                         like.size(), image->disk().size()))));
      must(image->close());
      request.backing = "other";
      request.format = "qcow2";
    }
    const auto image = files_->image(layer_name(t));
    if (image->qcow2()->header().external_data_file() || image->qcow2()->header().v2.crypt_method != 0)
      request.compress = false;
    base::Progress progress;
    const auto differences =
        must(shown_differences(*image, request, chain_, files_->open(), {.jobs = 2}, progress));
    const auto state = files_->state();
    must_run(prepare_rename(files_->image(layer_name(t)), request, chain_, files_->open()));
    const auto renamed = files_->content(layer_name(t));
    std::vector<GuestRange> expected;
    for (std::uint64_t at = 0; at < renamed.size(); at += 512) {
      if (std::ranges::equal(base::ConstBytes(renamed).subspan(at, 512),
                             base::ConstBytes(before_[t]).subspan(at, 512)))
        continue;
      if (!expected.empty() && expected.back().at + expected.back().length == at)
        expected.back().length += 512;
      else
        expected.push_back({at, 512});
    }
    ASSERT_EQ(differences.size(), expected.empty() ? 0 : 1);
    if (!expected.empty()) {
      ASSERT_EQ(differences[0].count, expected.size());
      for (std::size_t i = 0; i < expected.size(); ++i) {
        EXPECT_EQ(differences[0].ranges[i].at, expected[i].at);
        EXPECT_EQ(differences[0].ranges[i].length, expected[i].length);
      }
    }
    files_->put(state);
    must_run(prepare_rebase(files_->image(layer_name(t)), request, chain_, files_->open()));
    for (std::size_t i = 0; i < variety_.layers; ++i) expect_same(i);
    expect_sound();
  });
}

}  // namespace
}  // namespace cowvet::engine
