// A finding, and a report, as JSON values: the same in every document that has findings; described by
// reports/schemas/check.json.
#pragma once
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "findings/finding.hpp"
#include "reports/report.hpp"

namespace cowvet::reports {

[[nodiscard]] nlohmann::ordered_json finding_json(const findings::Finding& finding);
// The whole report of one image, as json() of reports/json.hpp has it.
[[nodiscard]] nlohmann::ordered_json report_json(const Report& report);

// The range; the snapshot's id where it is one's.
[[nodiscard]] nlohmann::ordered_json guest_json(const findings::GuestRange& guest);

// Names as the files have them, escaped.
[[nodiscard]] nlohmann::ordered_json names_json(const std::vector<std::string>& names);

}  // namespace cowvet::reports
