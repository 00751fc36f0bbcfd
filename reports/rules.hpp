// The rule table for readers: a list, one rule explained, JSON.
// Promises: nothing is said here that the table does not say.
#pragma once
#include <span>
#include <string>

#include "findings/rule.hpp"

namespace cowvet::reports {

// A line a rule, with a heading line for each area.
[[nodiscard]] std::string rule_list(std::span<const findings::Rule> rules);
// Everything about one rule, as prose of `width` columns.
[[nodiscard]] std::string rule_text(const findings::Rule& rule, unsigned width = 100);
// schemas/rules.json describes it.
[[nodiscard]] std::string rules_json(std::span<const findings::Rule> rules);

// What the words of a row mean, as the documentation says it.
[[nodiscard]] std::string_view explain(findings::Severity severity);
[[nodiscard]] std::string_view explain(findings::Reader reader);
[[nodiscard]] std::string_view explain(findings::Consent consent);
[[nodiscard]] std::string_view explain(findings::Reason reason);

// "refcount" of "refcount/leak".
[[nodiscard]] std::string_view area_of(const findings::Rule& rule);

}  // namespace cowvet::reports
