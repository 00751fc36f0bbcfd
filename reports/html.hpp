// One self-contained page: no script, nothing loaded from elsewhere, every name escaped.
#pragma once
#include <span>
#include <string>

#include "reports/report.hpp"

namespace cowvet::reports {

[[nodiscard]] std::string html(std::span<const Report> reports);

}  // namespace cowvet::reports
