// The report for a person: the verdict first, then the findings grouped by rule, then what to do.
// Promises: plain text that fits the width where words allow it; names from inside the image can't disturb a terminal.
#pragma once
#include <string>

#include "reports/report.hpp"

namespace cowvet::reports {

struct TextOptions {
  bool verbose = false;  // notes, explanations, every kept place and owner
  bool color = false;
  unsigned width = 100;  // columns
};

[[nodiscard]] std::string text(const Report& report, const TextOptions& options = {});

// Prose broken into lines of at most `width` columns; every line but the first begins with `indent` blanks, and the
// first is taken to begin at column `indent` already. Without a final line end.
[[nodiscard]] std::string wrapped(std::string_view prose, unsigned indent, unsigned width);

}  // namespace cowvet::reports
