#include "reports/advice.hpp"

#include <algorithm>

#include <fmt/format.h>

#include "base/text.hpp"

namespace cowvet::reports {

std::vector<std::string> advice(const analyzer::Verdict& verdict, const std::vector<Group>& groups,
                                Judgement judgement) {
  std::vector<std::pair<findings::Consent, std::string_view>> steps;
  for (const auto& group : groups) {
    const std::pair step{group.rule->consent, group.rule->advice};
    if (group.severity > findings::Severity::note && std::ranges::find(steps, step) == steps.end())
      steps.push_back(step);
  }
  std::ranges::stable_sort(steps, {}, [](const auto& step) { return step.first; });

  std::vector<std::string> sentences;
  if (judgement == Judgement::damaged || judgement == Judgement::unreadable)
    sentences.emplace_back("Keep the file as it is: stop what writes to it, and try repairs on a copy only.");
  if (judgement > Judgement::sound && !verdict.doubts.empty())
    sentences.push_back(
        fmt::format("Don't free space that looks unused: it may have owners that could not be seen ({}).",
                    base::escape(fmt::format("{}", fmt::join(verdict.doubts, "; ")))));
  for (const auto& [consent, sentence] :
       steps)  // while owners may be unknown, nothing is to be freed or lowered
    if (consent != findings::Consent::frees || verdict.doubts.empty()) sentences.emplace_back(sentence);
  return sentences;
}

}  // namespace cowvet::reports
