#include "reports/report.hpp"

#include <algorithm>

#include <fmt/format.h>

namespace cowvet::reports {

using findings::Severity;

std::string_view to_string(Judgement judgement) {
  switch (judgement) {
    case Judgement::sound: return "sound";
    case Judgement::leaks: return "leaks";
    case Judgement::damaged: return "damaged";
    case Judgement::unreadable: return "unreadable";
    case Judgement::not_qcow2: return "not-qcow2";
    case Judgement::not_examined: return "not-examined";
  }
  __builtin_unreachable();
}

namespace {

std::string_view meaning_of_damage(const analyzer::Verdict& verdict) {
  for (std::size_t index = 0; index < findings::rule_count; ++index)
    if (findings::RuleId::from_index(index)->refused_by_qemu && verdict.summary.by_rule[index].findings != 0)
      return "QEMU does not open it as it is; its disk can still be read";
  return "some of the data is wrong, or is at risk once the image is written to";
}

std::string_view plain_meaning(Judgement judgement, const Report& report) {
  switch (judgement) {
    case Judgement::sound:
      return report.outcome->summary.of(Severity::warning).findings == 0
                 ? "every structure is consistent, and no data is at risk"
                 : "every structure is accounted for; what the warnings say deserves a look";
    case Judgement::leaks: return "what the image refers to is intact; it wastes space or work";
    case Judgement::damaged: return meaning_of_damage(*report.outcome);
    case Judgement::unreadable:
      return "no virtual machine can open it as it is; what is left of it is told below";
    case Judgement::not_qcow2:
      return report.taken_as_raw ? "taken as a raw image: any content is a sound one"
                                 : "this is no qcow2 image, and nothing in it looks like one";
    case Judgement::not_examined: return "the check could not be made";
  }
  __builtin_unreachable();
}

}  // namespace

std::string meaning(const Report& report) {
  std::string text(plain_meaning(judge(report), report));
  if (!report.outcome) return text;
  std::uint64_t allowed = 0;
  for (const auto& count : report.outcome->summary.allowed) allowed += count.findings;
  if (allowed != 0) text += fmt::format(" (apart from {} that --allow leaves out)", some(allowed, "finding"));
  return text;
}

Judgement judge(const Report& report) {
  if (!report.outcome) return Judgement::not_examined;
  const auto& verdict = *report.outcome;
  if (!verdict.recognised) return Judgement::not_qcow2;
  if (!verdict.geometry || verdict.inferred) return Judgement::unreadable;
  const auto worst = verdict.summary.worst();
  if (!worst || *worst < Severity::leak) return Judgement::sound;
  if (*worst == Severity::leak) return Judgement::leaks;
  if (*worst == Severity::error) return Judgement::damaged;
  for (const auto& group : grouped(verdict))
    if (group.severity == Severity::fatal && group.rule->reader == findings::Reader::refuse_open)
      return Judgement::unreadable;
  return Judgement::damaged;
}

std::vector<Group> grouped(const analyzer::Verdict& verdict) {
  std::vector<Group> groups;
  auto next = verdict.findings.begin();
  for (std::size_t index = 0; index < findings::rule_count; ++index) {
    const auto rule = findings::RuleId::from_index(index);
    Group group{.rule = rule,
                .severity = verdict.summary.gravest[index],
                .count = verdict.summary.of(rule),
                .kept = {}};
    for (; next != verdict.findings.end() && next->rule == rule; ++next) group.kept.push_back(&*next);
    if (group.count.findings == 0) continue;
    groups.push_back(std::move(group));
  }
  std::ranges::stable_sort(groups, std::greater{}, &Group::severity);
  return groups;
}

std::string some(std::uint64_t number, std::string_view thing) {
  return fmt::format("{} {}{}", number, thing, number == 1 ? "" : "s");
}

std::string counted(const findings::Summary& summary) {
  std::string text;
  for (const auto severity :
       {Severity::fatal, Severity::error, Severity::leak, Severity::warning, Severity::note}) {
    const auto number = summary.of(severity).findings;
    if (number == 0) continue;
    const std::string_view word = severity == Severity::fatal ? "fatal error" : to_string(severity);
    text += (text.empty() ? "" : ", ") + some(number, word);
  }
  return text.empty() ? "nothing found" : text;
}

}  // namespace cowvet::reports
