// The verdict before going back: for a person and as JSON, described by reports/schemas/revert-check.json.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "findings/finding.hpp"
#include "reports/text.hpp"

namespace cowvet::reports {

struct RevertReport {
  struct Range {
    std::uint64_t begin = 0, length = 0;  // guest bytes
  };
  std::string file;
  std::string target;                  // the snapshot's id and name, or the backing file's name: raw bytes
  bool external = false;               // the overlay would be discarded
  bool deep = false;                   // the target's whole content was read
  std::vector<std::string> obstacles;  // why it is not safe, a sentence each
  std::vector<findings::Finding> findings;  // that concern the target
  std::uint64_t elsewhere = 0;              // errors that don't concern it

  std::uint64_t size_now = 0, size_then = 0;  // of the disk, bytes
  std::uint64_t vm_state = 0;                 // bytes; 0: the target has none
  // What only the present has. `lost_bytes` is complete, `lost` the first of the ranges.
  std::vector<Range> lost;
  std::uint64_t lost_ranges = 0, lost_bytes = 0;
  std::string loss_unknown;            // why it can't be told; "" when it can
  std::vector<std::string> bitmaps;    // that would not describe the disk any more
  std::vector<std::string> snapshots;  // that would go with the overlay

  // What a safety snapshot, or a copy of the overlay, takes and what the file system has, bytes.
  std::uint64_t undo_needs = 0;
  std::optional<std::uint64_t> undo_has;
  std::string no_undo;  // why there can be none; ""

  [[nodiscard]] bool safe() const { return obstacles.empty(); }
  [[nodiscard]] bool loses() const {
    return lost_bytes != 0 || !loss_unknown.empty() || !bitmaps.empty() || !snapshots.empty() ||
           size_then < size_now;
  }
  [[nodiscard]] bool undoable() const { return no_undo.empty() && undo_has.value_or(0) >= undo_needs; }
};

[[nodiscard]] std::string revert_text(const RevertReport& report, const TextOptions& options);
[[nodiscard]] std::string revert_json(const RevertReport& report);

}  // namespace cowvet::reports
