// The label map against a plain map: any owners in any order, by one thread or several, within any budget.
#include "analyzer/labels.hpp"

#include <algorithm>
#include <iterator>
#include <map>
#include <thread>
#include <vector>

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

namespace cowvet::analyzer {
namespace {

constexpr std::uint64_t chunk =
    LabelMap::page_clusters * 64;  // clusters that the map keeps or drops together
constexpr std::uint64_t clusters = 5 * chunk + 77;

struct Add {
  std::uint64_t first, count;
  Label label;
};

// Owners that crowd around page and chunk borders, so that they meet; runs, single clusters, and counts that take all
// three forms of a page.
rc::Gen<Add> any_add() {
  const auto place = rc::gen::apply(
      [](std::uint64_t page, std::uint64_t around) { return page * LabelMap::page_clusters + around; },
      rc::gen::element<std::uint64_t>(0, 1, 2, 63, 64, 65, 128, 320),
      rc::gen::inRange<std::uint64_t>(0, 300));
  const auto count = rc::gen::oneOf(rc::gen::just<std::uint64_t>(1), rc::gen::inRange<std::uint64_t>(0, 40),
                                    rc::gen::inRange<std::uint64_t>(0, 9000));
  const auto kind = rc::gen::map(rc::gen::inRange(1, static_cast<int>(Kind::contested)),
                                 [](int k) { return static_cast<Kind>(k); });
  const auto often = rc::gen::element(Kind::data, Kind::compressed, Kind::l2);
  const auto refs = rc::gen::oneOf(rc::gen::just<std::uint32_t>(1), rc::gen::inRange<std::uint32_t>(1, 200),
                                   rc::gen::element<std::uint32_t>(70000, Label::max_refs));
  return rc::gen::construct<Add>(place, count, rc::gen::construct<Label>(rc::gen::oneOf(often, kind), refs));
}

class Model {
 public:
  void add(const Add& add) {
    for (std::uint64_t c = add.first; c < std::min(add.first + add.count, clusters); ++c) {
      auto& label = labels_[c];
      label = merge(label, add.label);
    }
  }
  [[nodiscard]] Label at(std::uint64_t cluster) const {
    const auto it = labels_.find(cluster);
    return it == labels_.end() ? Label{} : it->second;
  }
  [[nodiscard]] const std::map<std::uint64_t, Label>& all() const { return labels_; }

 private:
  std::map<std::uint64_t, Label> labels_;
};

void apply(LabelMap& map, const std::vector<Add>& adds, unsigned threads) {
  std::vector<std::jthread> workers;
  for (unsigned t = 0; t < threads; ++t)
    workers.emplace_back([&, t] {
      LabelMap::Session session(map);
      for (std::size_t i = t; i < adds.size(); i += threads)
        session.add(adds[i].first, adds[i].count, adds[i].label);
    });
}

// All windows together are the model; each label is told once, in ascending order.
void compare(const Model& model, const std::vector<Add>& adds, std::uint64_t budget, unsigned threads) {
  auto map = LabelMap::make(clusters, budget);
  RC_ASSERT(map.has_value());
  std::uint64_t told = 0;   // clusters below have been compared
  std::uint64_t owned = 0;  // labels that are not free
  do {
    apply(**map, adds, threads);
    RC_ASSERT(map.value()->window_begin() == told);
    map.value()->for_each_run(0, clusters, [&](std::uint64_t first, std::uint64_t count, Label label) {
      RC_ASSERT(first == told && count > 0);
      told += count;
      if (label.kind == Kind::free) {
        const auto next = model.all().lower_bound(first);
        RC_ASSERT(next == model.all().end() || next->first >= first + count);
        return;
      }
      owned += count;
      for (std::uint64_t c = first; c < first + count; ++c) RC_ASSERT(model.at(c) == label);
    });
    RC_ASSERT(told == map.value()->window_end());
    if (!model.all().empty()) {
      const auto probe = model.all().begin()->first;
      const bool inside = probe >= map.value()->window_begin() && probe < map.value()->window_end();
      RC_ASSERT(map.value()->at(probe) == (inside ? model.at(probe) : Label{}));
    }
  } while (map.value()->advance());
  RC_ASSERT(told == clusters);
  RC_ASSERT(owned == model.all().size());
}

// Every other cluster, from the file's start: as many as a page holds as runs, and more.
std::vector<Add> comb(std::uint64_t teeth, Label label) {
  std::vector<Add> adds;
  for (std::uint64_t i = 0; i < teeth; ++i) adds.push_back({2 * i, 1, label});
  return adds;
}

RC_GTEST_PROP(Labels, are_what_a_plain_map_says, ()) {
  auto adds = *rc::gen::container<std::vector<Add>>(any_add());
  std::ranges::copy(
      comb(*rc::gen::element<std::uint64_t>(0, 100, 127, 128, 129, 2049),
           {Kind::data, *rc::gen::element<std::uint32_t>(1, 70000)}),
      std::inserter(adds, adds.begin() + *rc::gen::inRange<std::ptrdiff_t>(0, std::ssize(adds) + 1)));
  Model model;
  for (const auto& add : adds) model.add(add);
  const auto budget = *rc::gen::element<std::uint64_t>(0, 20000, 100000, 1ULL << 30);
  compare(model, adds, budget, 1);
  std::ranges::reverse(adds);
  compare(model, adds, budget, *rc::gen::inRange(1U, 4U));
}

TEST(Labels, the_last_owned_cluster_of_the_window_is_known) {
  auto map = LabelMap::make(clusters, 1 << 30);
  ASSERT_TRUE(map);
  EXPECT_FALSE(map.value()->last_used());
  apply(**map, {{5, 10, {Kind::data, 1}}, {3 * chunk, 2, {Kind::l2, 1}}}, 1);
  EXPECT_EQ(map.value()->last_used(), 3 * chunk + 1);
}

TEST(Labels, a_long_file_that_holds_little_takes_little_memory) {
  auto map = LabelMap::make(1ULL << 54, 1 << 20);
  ASSERT_TRUE(map);
  apply(**map, {{0, 3, {Kind::data, 1}}, {1ULL << 53, 1ULL << 20, {Kind::data, 1}}}, 1);
  EXPECT_LT(map.value()->memory(), 1U << 20);
  EXPECT_EQ(map.value()->window_end(), 1ULL << 54);
  EXPECT_EQ(map.value()->at((1ULL << 53) + 77), (Label{Kind::data, 1}));
}

TEST(Labels, scattered_clusters_take_little_memory) {  // else a check would look at a large file part by part
  auto map = LabelMap::make(clusters, 1 << 30);
  ASSERT_TRUE(map);
  apply(**map, comb(128, {Kind::data, 1}), 1);
  EXPECT_LT(map.value()->memory(), 4096U);
  EXPECT_EQ(map.value()->at(254), (Label{Kind::data, 1}));
  EXPECT_EQ(map.value()->at(255), Label{});
}

TEST(Labels, streams_share_a_cluster_and_nothing_else_does) {
  EXPECT_EQ(merge({Kind::compressed, 2}, {Kind::compressed, 3}), (Label{Kind::compressed, 5}));
  EXPECT_EQ(merge({Kind::data, 1}, {Kind::data, 1}), (Label{Kind::contested, 2}));
  EXPECT_EQ(merge({Kind::compressed, 1}, {Kind::data, 1}), (Label{Kind::contested, 2}));
  EXPECT_EQ(merge({Kind::data, Label::max_refs}, {Kind::data, 1}), (Label{Kind::contested, Label::max_refs}));
}

}  // namespace
}  // namespace cowvet::analyzer
