#include "reports/stake.hpp"

#include <algorithm>
#include <map>

#include <fmt/format.h>

#include "base/checked.hpp"
#include "base/text.hpp"

namespace cowvet::reports {

using findings::Severity;

namespace {

struct Range {
  std::uint64_t begin = 0, end = 0;
};

std::uint64_t covered(std::vector<Range>& ranges) {
  std::ranges::sort(ranges, {}, &Range::begin);
  std::uint64_t bytes = 0, reached = 0;
  for (const auto& range : ranges) {
    if (range.end <= reached) continue;
    bytes += range.end - std::max(range.begin, reached);
    reached = range.end;
  }
  return bytes;
}

// Whether every error was kept, so that nothing is missing from a sum.
bool all_errors_kept(const analyzer::Verdict& verdict) {
  const auto kept = std::ranges::count_if(
      verdict.findings, [](const auto& finding) { return finding.severity >= Severity::error; });
  return static_cast<std::uint64_t>(kept) ==
         verdict.summary.of(Severity::error).findings + verdict.summary.of(Severity::fatal).findings;
}

}  // namespace

std::vector<Stake> stakes(const analyzer::Verdict& verdict) {
  std::map<std::string, std::vector<Range>> by_layer;
  for (const auto& finding : verdict.findings) {
    if (finding.severity < Severity::error) continue;
    for (const auto& guest : finding.guest)
      by_layer[guest.snapshot].push_back(
          {guest.begin.raw(), base::saturating_add(guest.begin.raw(), guest.length)});
  }
  std::vector<Stake> list;
  for (auto& [snapshot, ranges] : by_layer) list.push_back({snapshot, covered(ranges)});
  return list;
}

std::string stakes_in_words(const analyzer::Verdict& verdict) {
  std::string words;
  for (const auto& stake : stakes(verdict)) {
    words += (words.empty() ? "" : ", ") + base::human_size(stake.bytes);
    words += stake.snapshot.empty() ? " of the disk"
                                    : fmt::format(" of snapshot '{}'", base::escape(stake.snapshot));
  }
  return words.empty() || all_errors_kept(verdict) ? words : "at least " + words;
}

}  // namespace cowvet::reports
