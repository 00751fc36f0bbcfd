// Gathers the findings of all threads of a check.
//
// Promises: exact counts of everything that was reported; at most a stated number of kept findings a rule, namely
// the smallest in the order of findings, so that the same image gives the same list whatever the timing; memory
// bounded by that number whatever the image.
// Hands on: `Summary` and the sorted findings.
//
// 1. A caller asks `only_counts` with the place only. Where the finding can't be among the kept ones any more, it is
//    counted with that, and its text need not be built.
// 2. Otherwise the caller builds the finding and calls `add`, which counts it and keeps it while it is small
//    enough: each rule has a heap with the largest kept finding on top, and a smaller one takes its place.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <optional>
#include <span>
#include <vector>

#include "findings/finding.hpp"
#include "findings/rule.hpp"

namespace cowvet::findings {

// How often, and for how many clusters (the sum of Finding::count).
struct Count {
  std::uint64_t findings = 0;
  std::uint64_t clusters = 0;
  friend bool operator==(const Count&, const Count&) = default;
};

struct Summary {
  std::array<Count, severity_count> by_severity{};  // without what is allowed
  std::array<Count, rule_count> by_rule{};          // likewise, by RuleId::index()
  std::array<Severity, rule_count> gravest{};       // likewise: of the rule's findings
  std::array<Count, rule_count> allowed{};          // reported under a rule on the allow-list

  [[nodiscard]] const Count& of(Severity severity) const {
    return by_severity[static_cast<std::size_t>(severity)];
  }
  [[nodiscard]] const Count& of(RuleId rule) const { return by_rule[rule.index()]; }
  // The gravest severity that was reported; nothing when nothing was.
  [[nodiscard]] std::optional<Severity> worst() const;
  friend bool operator==(const Summary&, const Summary&) = default;
};

class Collector {
 public:
  // Keeps at most `keep_per_rule` findings of each rule. Findings of `allowed` rules are counted apart and not kept.
  explicit Collector(std::size_t keep_per_rule, std::span<const RuleId> allowed = {});

  // True when a finding of this rule at this place can't be kept any more, now or later: it was counted. May be called
  // from any thread.
  [[nodiscard]] bool only_counts(RuleId rule, const Place& place, Severity severity,
                                 std::uint64_t clusters = 1);
  // Counts a finding of which no more is known.
  void tally(RuleId rule, Severity severity, std::uint64_t clusters = 1);
  // Counts the finding and keeps it if it is among the smallest of its rule.
  void add(Finding&& finding);

  [[nodiscard]] Summary summary() const;
  // Moves the kept findings out, in their order. The counts stay.
  [[nodiscard]] std::vector<Finding> take_sorted();
  // Forgets all that was reported: what it rested on turned out to be wrong.
  void clear();

 private:
  bool refused(RuleId rule, const Place& place) const;  // under the lock
  void count(RuleId rule, Severity severity, std::uint64_t clusters);

  const std::size_t keep_per_rule_;
  std::array<bool, rule_count> is_allowed_{};
  mutable std::mutex mutex_;
  Summary summary_;
  std::array<std::vector<Finding>, rule_count> kept_;  // each a max-heap
};

}  // namespace cowvet::findings
