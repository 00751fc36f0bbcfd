// The check of one image for the verbs that check: opened by name, with its data file where that is asked for, and what
// the outcome means for the exit code.
#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/progress.hpp"
#include "cli/exit_codes.hpp"
#include "cli/shared.hpp"
#include "findings/finding.hpp"
#include "findings/rule.hpp"
#include "reports/report.hpp"

namespace cowvet::cli {

struct Examination {
  bool deep = false;
  unsigned jobs = 0;                 // threads; 0: as many as there are cores
  std::uint64_t max_findings = 100;  // of a rule
  std::optional<std::uint64_t> memory_limit{};
  std::vector<findings::RuleId> allowed{};
  std::vector<findings::Finding> of_the_chain{};  // reported with the image's own
};

// `in_use`: another program may write to the image. What stops the check is the report's outcome.
[[nodiscard]] reports::Report examine(const std::string& file, const Shared& shared, const Examination& how,
                                      bool in_use, base::Progress& progress);

// The image's external data file, if it has one and it can be opened, for reading: what is missing, the check
// says itself.
[[nodiscard]] std::unique_ptr<storage::Device> open_data_file(const storage::Device& image,
                                                              const Shared& shared);

[[nodiscard]] Exit code_for(const reports::Report& report, findings::Severity fails);

}  // namespace cowvet::cli
