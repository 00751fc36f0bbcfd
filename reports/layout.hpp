// Who owns every byte of a file: `layout`. A run at a time, since a file may have many; totals at the end.
#pragma once
#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "analyzer/layout.hpp"

namespace cowvet::reports {

// What runs add up to.
class LayoutTotals {
 public:
  void add(const analyzer::LayoutRun& run);
  // A line a kind, gravest use of space first; the sum is the file's size.
  [[nodiscard]] std::string text(const analyzer::LayoutSummary& summary) const;
  // The end of the document that layout_json_opening() begins and schemas/layout.json describes.
  [[nodiscard]] std::string json_closing(const analyzer::LayoutSummary& summary) const;

 private:
  std::array<std::uint64_t, analyzer::kind_count> bytes_{};
  std::uint64_t leaked_ = 0;
};

[[nodiscard]] std::string layout_heading();
void add_layout_row(std::string& out, const analyzer::LayoutRun& run);

[[nodiscard]] std::string layout_json_opening(std::string_view file);
void add_layout_json(std::string& out, const analyzer::LayoutRun& run);

}  // namespace cowvet::reports
