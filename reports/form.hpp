// All forms of a check's report by name. Hands on: `render`, the one way from reports to text.
#pragma once
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "findings/rule.hpp"
#include "reports/report.hpp"
#include "reports/text.hpp"

namespace cowvet::reports {

enum class Form : std::uint8_t { human, json, junit, sarif, html };

// "human", "json", "junit", "sarif", "html".
[[nodiscard]] std::optional<Form> form_named(std::string_view word);
// By the suffix of a file's name: .txt, .json, .xml, .sarif, .html.
[[nodiscard]] std::optional<Form> form_of_file(std::string_view file);

struct Style {
  TextOptions text;                                     // for human
  findings::Severity fails = findings::Severity::leak;  // least severity that fails a JUnit test case
};

[[nodiscard]] std::string render(Form form, std::span<const Report> reports, const Style& style);

}  // namespace cowvet::reports
