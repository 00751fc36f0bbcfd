// SARIF 2.1.0, for code scanning and other collectors of results. Promises: one run, the rules that were broken
// described once, host ranges as byte regions of the image's artifact.
#pragma once
#include <span>
#include <string>

#include "reports/report.hpp"

namespace cowvet::reports {

[[nodiscard]] std::string sarif(std::span<const Report> reports);

}  // namespace cowvet::reports
