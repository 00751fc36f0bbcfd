#include "reports/form.hpp"

#include "reports/html.hpp"
#include "reports/json.hpp"
#include "reports/junit.hpp"
#include "reports/sarif.hpp"

namespace cowvet::reports {

namespace {

struct Name {
  Form form;
  std::string_view word, suffix;
};
constexpr Name names[] = {{Form::human, "human", ".txt"},
                          {Form::json, "json", ".json"},
                          {Form::junit, "junit", ".xml"},
                          {Form::sarif, "sarif", ".sarif"},
                          {Form::html, "html", ".html"}};

std::string human(std::span<const Report> reports, const TextOptions& options) {
  std::string out;
  for (const auto& report : reports) out += (out.empty() ? "" : "\n") + text(report, options);
  return out;
}

}  // namespace

std::optional<Form> form_named(std::string_view word) {
  for (const auto& name : names)
    if (word == name.word) return name.form;
  return std::nullopt;
}

std::optional<Form> form_of_file(std::string_view file) {
  for (const auto& name : names)
    if (file.ends_with(name.suffix)) return name.form;
  return std::nullopt;
}

std::string render(Form form, std::span<const Report> reports, const Style& style) {
  switch (form) {
    case Form::human: return human(reports, style.text);
    case Form::json: return json(reports);
    case Form::junit: return junit(reports, style.fails);
    case Form::sarif: return sarif(reports);
    case Form::html: return html(reports);
  }
  __builtin_unreachable();
}

}  // namespace cowvet::reports
