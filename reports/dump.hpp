// Structures of an image, field by field: `dump`. One at a time, since tables can be long.
#pragma once
#include <string>
#include <string_view>

#include "analyzer/structures.hpp"

namespace cowvet::reports {

// A heading with place and length, then a line a field: offset in the file, width, name, value, its bits by name.
[[nodiscard]] std::string dump_text(const analyzer::Structure& structure);

// The document of schemas/dump.json is opening + structures with commas between them + closing.
[[nodiscard]] std::string dump_json_opening(std::string_view file);
[[nodiscard]] std::string dump_json(const analyzer::Structure& structure);
[[nodiscard]] std::string dump_json_closing();

}  // namespace cowvet::reports
