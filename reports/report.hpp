// The value that every form of report is made from: one image, and what a check said of it.
// Promises: no form looks at anything else, so all forms say the same. Hands on: the judgement that opens each report.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "analyzer/verdict.hpp"
#include "base/result.hpp"
#include "findings/rule.hpp"
#include "repair/plan.hpp"

namespace cowvet::reports {

// What a check's outcome means to the image's owner, ascending.
enum class Judgement : std::uint8_t {
  sound,         // nothing at or above "leak"
  leaks,         // space is wasted, no data is at risk
  damaged,       // data is wrong or at risk
  unreadable,    // the image, or its active disk, can't be interpreted
  not_qcow2,     // nothing in the file says that it is, or was, a qcow2 image
  not_examined,  // the check itself failed
};
[[nodiscard]] std::string_view to_string(Judgement judgement);

// What was repaired before the check that is reported.
struct Repairs {
  std::uint64_t leaks_fixed = 0;        // clusters
  std::uint64_t corruptions_fixed = 0;  // findings above a leak
  std::string undo_file{};              // raw bytes; empty: nothing was changed
  std::vector<repair::Withheld> withheld{};
};

struct Report {
  std::string file;  // as the user named it: raw bytes
  std::uint64_t file_size = 0;
  // FNV-1a (64 bits) of the file's first 4096 bytes, or of all of it if it is shorter: tells one state of the header
  // from another.
  std::uint64_t header_digest = 0;
  bool deep = false;
  bool taken_as_raw = false;  // the user said that it is no qcow2 image
  base::Result<analyzer::Verdict> outcome;
  std::optional<Repairs> repairs = {};  // where the check was to repair
};
inline constexpr std::size_t digested_bytes = 4096;

[[nodiscard]] Judgement judge(const Report& report);
// The judgement in one sentence: what it means for the data.
[[nodiscard]] std::string meaning(const Report& report);

// The findings of one rule, as a report shows them together.
struct Group {
  findings::RuleId rule;
  findings::Severity severity;                 // the gravest among the kept ones
  findings::Count count;                       // all of them
  std::vector<const findings::Finding*> kept;  // in order
};
// By severity, gravest first, then by code.
[[nodiscard]] std::vector<Group> grouped(const analyzer::Verdict& verdict);

// "1 leak", "3 leaks".
[[nodiscard]] std::string some(std::uint64_t number, std::string_view thing);
// How many findings there are at each severity, in words: "2 errors, 1 warning"; "nothing found" without any.
[[nodiscard]] std::string counted(const findings::Summary& summary);

}  // namespace cowvet::reports
