// The plan of a repair, and what became of it: for a person, and as JSON that reports/schemas/repair.json describes.
#pragma once
#include <cstdint>
#include <string>

#include "repair/plan.hpp"
#include "reports/text.hpp"

namespace cowvet::reports {

struct RepairReport {
  std::string file;  // as the user named it: raw bytes
  const repair::Plan& plan;
  repair::Level level = repair::Level::lossless;
  bool allow_loss = false;
  bool done = false;        // the plan was carried out
  std::string undo_file{};  // when it was
};

[[nodiscard]] std::string_view to_string(repair::Level level);
[[nodiscard]] std::string repair_text(const RepairReport& report, const TextOptions& options);
[[nodiscard]] std::string repair_json(const RepairReport& report);

}  // namespace cowvet::reports
