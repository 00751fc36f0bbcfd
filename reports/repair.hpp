// The plan of a repair, and what became of it: for a person, and as JSON that reports/schemas/repair.json
// describes; of a whole chain as reports/schemas/repair-chain.json does.
#pragma once
#include <cstdint>
#include <optional>
#include <span>
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

// A file of a chain that was repaired from the base up.
struct RepairedLink {
  std::string file, format;            // as named; "" when the format was found by looking
  std::string problem = {};            // why what it stands on could not be looked at; "" when all is well
  std::string error = {};              // why it was not repaired; "" when it was, or is raw
  std::optional<RepairReport> report;  // none: raw, or an error
};

[[nodiscard]] std::string_view to_string(repair::Level level);
[[nodiscard]] std::string repair_text(const RepairReport& report, const TextOptions& options);
[[nodiscard]] std::string repair_json(const RepairReport& report);
// `image`: the top of the chain.
[[nodiscard]] std::string repair_chain_json(std::string_view image, std::span<const RepairedLink> links);

}  // namespace cowvet::reports
