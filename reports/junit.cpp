#include "reports/junit.hpp"

#include <algorithm>

#include <fmt/format.h>

#include "reports/markup.hpp"
#include "reports/place.hpp"
#include "reports/rules.hpp"

namespace cowvet::reports {

namespace {

// The areas that a check looks at, in the order of the rule table.
std::vector<std::string_view> areas() {
  std::vector<std::string_view> names;
  for (const auto& rule : findings::all_rules())
    if (names.empty() || names.back() != area_of(rule)) names.push_back(area_of(rule));
  return names;
}

std::string lines_of(const Group& group) {
  std::string lines = fmt::format("{} {}: {} ({} findings)\n", to_string(group.severity), group.rule->name,
                                  markup_safe(group.rule->title), group.count.findings);
  for (const auto* finding : group.kept)
    lines += "  " + markup_safe(place(*finding, PlaceDetail::some)) + '\n';
  return lines;
}

struct Case {
  std::string failed, told;  // lines of groups that fail the case, and of the others
  std::string message;       // names of the rules that fail it
  std::string_view type;     // the gravest severity
};

Case case_of(std::string_view area, const std::vector<Group>& groups, findings::Severity fails) {
  Case result;
  for (const auto& group : groups) {
    if (area_of(*group.rule) != area) continue;
    if (group.severity < fails) {
      result.told += lines_of(group);
      continue;
    }
    if (result.message.empty()) result.type = to_string(group.severity);
    result.message +=
        fmt::format("{}{} ({})", result.message.empty() ? "" : ", ", group.rule->name, group.count.findings);
    result.failed += lines_of(group);
  }
  return result;
}

std::string suite(const Report& report, findings::Severity fails) {
  const auto file = markup_safe(report.file);
  if (!report.outcome || judge(report) == Judgement::not_qcow2) {
    const auto why = report.outcome ? meaning(report) : report.outcome.error().message;
    return fmt::format(
        "  <testsuite name=\"{0}\" tests=\"1\" failures=\"0\" errors=\"1\">\n"
        "    <testcase name=\"examined\" classname=\"{0}\"><error message=\"{1}\"/></testcase>\n  "
        "</testsuite>\n",
        file, markup_safe(why));
  }
  const auto& verdict = *report.outcome;
  const auto groups = grouped(verdict);
  std::string cases;
  unsigned number = 1, failures = 0;
  const unsigned errors = verdict.complete ? 0 : 1;
  cases += fmt::format("    <testcase name=\"examined\" classname=\"{}\">", file);
  if (!verdict.complete) cases += fmt::format("<error message=\"{}\"/>", markup_safe(verdict.incomplete));
  cases += "</testcase>\n";
  for (const auto area : areas()) {
    const auto result = case_of(area, groups, fails);
    ++number;
    cases += fmt::format("    <testcase name=\"{}\" classname=\"{}\">", area, file);
    if (!result.message.empty()) {
      ++failures;
      cases += fmt::format("<failure type=\"{}\" message=\"{}\">{}</failure>", result.type, result.message,
                           result.failed);
    }
    if (!result.told.empty()) cases += fmt::format("<system-out>{}</system-out>", result.told);
    cases += "</testcase>\n";
  }
  return fmt::format(
      "  <testsuite name=\"{}\" tests=\"{}\" failures=\"{}\" errors=\"{}\">\n{}  </testsuite>\n", file,
      number, failures, errors, cases);
}

}  // namespace

std::string junit(std::span<const Report> reports, findings::Severity fails) {
  std::string out = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites name=\"cowvet check\">\n";
  for (const auto& report : reports) out += suite(report, fails);
  return out + "</testsuites>\n";
}

}  // namespace cowvet::reports
