// The JSON Schemas of everything that cowvet prints as JSON, as they lie in reports/schemas/.
#pragma once
#include <span>
#include <string_view>

namespace cowvet::reports {

struct Schema {
  std::string_view name;  // "check"
  std::string_view text;  // the document, ending with a line end
};

[[nodiscard]] std::span<const Schema> all_schemas();

}  // namespace cowvet::reports
