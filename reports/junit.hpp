// JUnit XML: a test suite an image, a test case an area of rules, so that a pipeline shows what was looked at and what
// failed. Promises: an area fails exactly when a finding of at least the given severity lies in it.
#pragma once
#include <span>
#include <string>

#include "findings/rule.hpp"
#include "reports/report.hpp"

namespace cowvet::reports {

[[nodiscard]] std::string junit(std::span<const Report> reports, findings::Severity fails);

}  // namespace cowvet::reports
