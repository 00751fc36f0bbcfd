// cowvet rules: lists the rules, or explains the named ones.
#include "reports/rules.hpp"

#include <vector>

#include <fmt/format.h>

#include "base/text.hpp"
#include "cli/shared.hpp"
#include "cli/verbs.hpp"

namespace cowvet::cli {

namespace {

std::string no_such_rule(const std::string& name) {
  std::vector<std::string_view> names;
  for (const auto& rule : findings::all_rules()) names.push_back(rule.name);
  const auto meant = nearest(name, names);
  const auto wrong = fmt::format("rules: there is no rule '{}'", base::escape(name));
  return wrong + (meant.empty() ? ": 'cowvet rules' lists them" : fmt::format("; did you mean '{}'?", meant));
}

}  // namespace

Exit rules(std::span<char* const> words, Console& console) {
  std::string output = "human";
  std::vector<std::string> names;
  Arguments arguments("rules", "Lists everything that cowvet checks, or explains the named rules.",
                      "  cowvet rules                  # one line a rule\n"
                      "  cowvet rules refcount/leak    # what it means, what is at risk, what to do\n"
                      "  cowvet rules 501 --output json");
  add_output(arguments, output, {"human", "json"});
  arguments.operands(names, "RULE", "Name or number of a rule", false);
  if (const auto end = arguments.parse(words, console)) return *end;

  std::vector<findings::Rule> chosen;
  for (const auto& name : names) {
    const auto rule = findings::RuleId::lookup(name);
    if (!rule) {
      console.complain(no_such_rule(name));
      return Exit::failed;
    }
    chosen.push_back(**rule);
  }
  const auto all = findings::all_rules();
  const std::span<const findings::Rule> rows = names.empty() ? all : std::span<const findings::Rule>(chosen);
  if (output == "json") {
    console.print(reports::rules_json(rows));
  } else if (names.empty()) {
    console.print(reports::rule_list(rows));
  } else {
    for (const auto& rule : rows)
      console.print((&rule == rows.data() ? "" : "\n") + reports::rule_text(rule, Console::terminal_width()));
  }
  return Exit::success;
}

}  // namespace cowvet::cli
