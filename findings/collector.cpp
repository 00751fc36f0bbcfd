// Counting and keeping, under one lock: a sound image reports next to nothing, and a hostile one is cheap to refuse.
#include "findings/collector.hpp"

#include <algorithm>
#include <iterator>
#include <utility>

namespace cowvet::findings {

namespace {

// Counts saturate: a hostile image can make the clusters of its findings add up beyond 64 bits.
void increase(Count& count, std::uint64_t clusters) {
  ++count.findings;
  if (__builtin_add_overflow(count.clusters, clusters, &count.clusters)) count.clusters = UINT64_MAX;
}

}  // namespace

std::optional<Severity> Summary::worst() const {
  for (std::size_t index = severity_count; index-- > 0;) {
    if (by_severity[index].findings > 0) return static_cast<Severity>(index);
  }
  return std::nullopt;
}

Collector::Collector(std::size_t keep_per_rule, std::span<const RuleId> allowed)
    : keep_per_rule_(keep_per_rule) {
  for (const RuleId rule : allowed) is_allowed_[rule.index()] = true;
}

bool Collector::refused(RuleId rule, const Place& place) const {
  if (is_allowed_[rule.index()] || keep_per_rule_ == 0) return true;
  const std::vector<Finding>& heap = kept_[rule.index()];
  // At the largest kept place the rest of the finding decides, so only a place behind it is refused.
  return heap.size() == keep_per_rule_ && place > place_of(heap.front());
}

void Collector::count(RuleId rule, Severity severity, std::uint64_t clusters) {
  if (is_allowed_[rule.index()]) {
    increase(summary_.allowed[rule.index()], clusters);
    return;
  }
  increase(summary_.by_rule[rule.index()], clusters);
  summary_.gravest[rule.index()] = std::max(summary_.gravest[rule.index()], severity);
  increase(summary_.by_severity[static_cast<std::size_t>(severity)], clusters);
}

bool Collector::only_counts(RuleId rule, const Place& place, Severity severity, std::uint64_t clusters) {
  const std::lock_guard lock(mutex_);
  if (!refused(rule, place)) return false;
  count(rule, severity, clusters);
  return true;
}

void Collector::tally(RuleId rule, Severity severity, std::uint64_t clusters) {
  const std::lock_guard lock(mutex_);
  count(rule, severity, clusters);
}

void Collector::add(Finding&& finding) {
  const std::lock_guard lock(mutex_);
  count(finding.rule, finding.severity, finding.count);
  if (refused(finding.rule, place_of(finding))) return;
  std::vector<Finding>& heap = kept_[finding.rule.index()];
  if (heap.size() == keep_per_rule_) {
    if (finding >= heap.front()) return;
    std::ranges::pop_heap(heap);
    heap.back() = std::move(finding);
  } else {
    heap.push_back(std::move(finding));
  }
  std::ranges::push_heap(heap);
}

Summary Collector::summary() const {
  const std::lock_guard lock(mutex_);
  return summary_;
}

std::vector<Finding> Collector::take_sorted() {
  const std::lock_guard lock(mutex_);
  std::vector<Finding> all;
  for (std::vector<Finding>& heap : kept_) {
    std::ranges::sort_heap(heap);
    std::ranges::move(heap, std::back_inserter(all));
    heap.clear();
  }
  return all;
}

void Collector::clear() {
  const std::lock_guard lock(mutex_);
  summary_ = {};
  for (auto& heap : kept_) heap.clear();
}

}  // namespace cowvet::findings
