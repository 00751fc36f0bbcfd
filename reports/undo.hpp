// What `cowvet undo` tells of an undo file.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace cowvet::reports {

struct UndoRangeReport {
  std::uint64_t offset = 0, length = 0;  // in the image, bytes
  std::string_view before;               // what it held: "data", "zero", "hole", "nothing"
};

struct UndoReport {
  std::string file, image;
  std::string_view state;  // before the verb did anything: "complete", "interrupted", "undone"
  std::string made;        // "2026-11-27 15:40:02 UTC"
  std::uint64_t length_before = 0, length_after = 0;  // of the image, bytes
  std::uint64_t changed = 0, saved = 0;  // bytes that the change touched; that the undo file keeps
  std::string_view result;               // "restored", "nothing-to-do", "listed"
  std::uint64_t written = 0;             // bytes written back
  std::optional<std::vector<UndoRangeReport>> ranges;  // where they were asked for
};

// schemas/undo.json.
[[nodiscard]] std::string undo_json(const UndoReport& report);
// For people; of a listing the ranges, else what was done.
[[nodiscard]] std::string undo_text(const UndoReport& report);

}  // namespace cowvet::reports
