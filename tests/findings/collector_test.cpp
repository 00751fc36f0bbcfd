// The collector: same findings, same result, whatever the order, the threads and the cap.
#include "findings/collector.hpp"

#include <algorithm>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

namespace {

using namespace cowvet::findings;
using cowvet::base::GuestOffset;
using cowvet::base::HostOffset;

constexpr std::size_t no_cap = SIZE_MAX;

// A thousand findings of three rules. Many share a place, so that the rest of the order has to decide at the cap.
std::vector<Finding> sample() {
  const RuleId rules[] = {"refcount/leak"_rule, "l2/host-alias"_rule, "l1/alias"_rule};
  std::vector<Finding> all;
  for (std::uint64_t n = 0; n < 1000; ++n) {
    Finding finding{rules[n % 3]};
    if (n % 5 != 0) finding.host = HostRange{HostOffset{n / 40 * 512}, 512};
    if (n % 7 != 0) finding.guest.push_back({GuestOffset{n % 11 * 4096}, 4096, {}});
    finding.where = "l1[" + std::to_string(n * 7919 % 1000) + "]";
    finding.count = n % 4;
    if (n % 3 == 1 && n % 2 == 0) finding.severity = finding.rule->lesser;
    all.push_back(std::move(finding));
  }
  return all;
}

// Reports as a careful caller does: asks first, builds the finding only if wanted.
void report(Collector& to, const Finding& finding) {
  if (!to.only_counts(finding.rule, place_of(finding), finding.severity, finding.count))
    to.add(Finding{finding});
}

// What a cap of `keep` must leave: the smallest of each rule, from a plain sort.
std::vector<Finding> smallest(std::vector<Finding> all, std::size_t keep) {
  std::ranges::sort(all);
  std::vector<Finding> kept;
  std::array<std::size_t, rule_count> seen{};
  for (Finding& finding : all) {
    if (seen[finding.rule.index()]++ < keep) kept.push_back(std::move(finding));
  }
  return kept;
}

class Capped : public testing::TestWithParam<std::size_t> {};

TEST_P(Capped, keeps_the_smallest_in_any_order) {
  std::vector<Finding> findings = sample();
  const std::vector<Finding> expected = smallest(findings, GetParam());
  Collector uncapped(no_cap);
  for (const Finding& finding : findings) uncapped.add(Finding{finding});
  const Summary summary = uncapped.summary();

  std::mt19937 random(1);
  for (int round = 0; round < 6; ++round) {
    std::ranges::shuffle(findings, random);
    Collector asking(GetParam());
    Collector adding(GetParam());
    for (const Finding& finding : findings) {
      report(asking, finding);
      adding.add(Finding{finding});
    }
    EXPECT_EQ(asking.summary(), summary);
    EXPECT_EQ(adding.summary(), summary);
    EXPECT_EQ(asking.take_sorted(), expected);
    EXPECT_EQ(adding.take_sorted(), expected);
  }
}

TEST_P(Capped, keeps_the_smallest_under_threads) {
  std::vector<Finding> findings = sample();
  const std::vector<Finding> expected = smallest(findings, GetParam());
  std::ranges::shuffle(findings, std::mt19937(2));
  for (int round = 0; round < 4; ++round) {
    Collector collector(GetParam());
    {
      std::vector<std::jthread> threads;
      threads.reserve(4);
      for (std::size_t first = 0; first < 4; ++first) {
        threads.emplace_back([&, first] {
          for (std::size_t n = first; n < findings.size(); n += 4) report(collector, findings[n]);
        });
      }
    }
    EXPECT_EQ(collector.take_sorted(), expected);
    EXPECT_EQ(collector.summary().of("refcount/leak"_rule).findings, 334U);
  }
}

INSTANTIATE_TEST_SUITE_P(Caps, Capped, testing::Values(0, 1, 2, 10, 333, 334, 1000, no_cap));

TEST(Collector, counts_findings_and_clusters_by_severity_and_rule) {
  Collector collector(1);
  collector.add(Finding{"refcount/leak"_rule}.clusters(5));
  collector.add(Finding{"refcount/leak"_rule}.clusters(7));
  collector.add(Finding{"compressed/range-past-eof"_rule});
  collector.add(Finding{"compressed/range-past-eof"_rule}.milder());
  collector.tally("compressed/range-past-eof"_rule, Severity::error, 3);
  const Summary summary = collector.summary();
  EXPECT_EQ(summary.of("refcount/leak"_rule), (Count{2, 12}));
  EXPECT_EQ(summary.of("compressed/range-past-eof"_rule), (Count{3, 5}));
  EXPECT_EQ(summary.of(Severity::leak), (Count{2, 12}));
  EXPECT_EQ(summary.of(Severity::error), (Count{2, 4}));
  EXPECT_EQ(summary.of(Severity::warning), (Count{1, 1}));
  EXPECT_EQ(summary.of(Severity::fatal), (Count{}));
  EXPECT_EQ(summary.worst(), Severity::error);
  EXPECT_EQ(summary.gravest["compressed/range-past-eof"_rule.index()],
            Severity::error);  // though the kept one may be milder
  EXPECT_EQ(collector.take_sorted().size(), 2U);
}

TEST(Collector, counts_apart_what_is_allowed) {
  const RuleId allowed[] = {"refcount/leak"_rule};
  Collector collector(10, allowed);
  EXPECT_TRUE(collector.only_counts("refcount/leak"_rule, {}, Severity::leak, 2));
  EXPECT_FALSE(collector.only_counts("refcount/too-high"_rule, {}, Severity::error));
  collector.add(Finding{"refcount/leak"_rule}.clusters(5));
  EXPECT_EQ(collector.summary().worst(), std::nullopt);
  collector.add(Finding{"refcount/beyond-eof"_rule});
  const Summary summary = collector.summary();
  EXPECT_EQ(summary.allowed["refcount/leak"_rule.index()], (Count{2, 7}));
  EXPECT_EQ(summary.of("refcount/leak"_rule), (Count{}));
  EXPECT_EQ(summary.of(Severity::leak), (Count{}));
  EXPECT_EQ(summary.worst(), Severity::warning);
  const std::vector<Finding> kept = collector.take_sorted();
  ASSERT_EQ(kept.size(), 1U);
  EXPECT_EQ(kept[0].rule, "refcount/beyond-eof"_rule);
}

TEST(Collector, refuses_only_what_can_no_longer_be_kept) {
  const RuleId rule = "l2/past-eof"_rule;
  Collector collector(1);
  collector.add(Finding{rule}.at("b").on(HostOffset{1024}, 512));
  EXPECT_FALSE(collector.only_counts(rule, {HostOffset{1023}, {}}, Severity::error));
  EXPECT_FALSE(collector.only_counts(rule, {HostOffset{1024}, {}}, Severity::error))
      << "the same place: the rest decides";
  EXPECT_TRUE(collector.only_counts(rule, {HostOffset{1024}, GuestOffset{0}}, Severity::error));
  EXPECT_TRUE(collector.only_counts(rule, {HostOffset{1025}, {}}, Severity::error));
  EXPECT_FALSE(collector.only_counts(rule, {}, Severity::error)) << "no place comes before any place";
  EXPECT_FALSE(collector.only_counts("l2/reserved"_rule, {HostOffset{4096}, {}}, Severity::error))
      << "another rule has its own cap";
  collector.add(Finding{rule}.at("a").on(HostOffset{1024}, 512));
  EXPECT_EQ(collector.take_sorted().at(0).where, "a");
}

TEST(Collector, saturates_the_number_of_clusters) {
  Collector collector(0);
  collector.add(Finding{"refcount/leak"_rule}.clusters(UINT64_MAX));
  collector.add(Finding{"refcount/leak"_rule}.clusters(2));
  EXPECT_EQ(collector.summary().of(Severity::leak), (Count{2, UINT64_MAX}));
  EXPECT_TRUE(collector.take_sorted().empty());
}

TEST(Collector, keeps_its_counts_after_its_findings_are_taken) {
  Collector collector(5);
  collector.add(Finding{"luks/uuid"_rule});
  EXPECT_EQ(collector.take_sorted().size(), 1U);
  EXPECT_TRUE(collector.take_sorted().empty());
  EXPECT_EQ(collector.summary().of(Severity::note).findings, 1U);
}

}  // namespace
