// Extents of a disk, in qemu-img's words: `map`. A line at a time, since a disk may have many millions of them.
#pragma once
#include <string>

#include "analyzer/mapping.hpp"

namespace cowvet::reports {

// The extent as an object of the array that schemas/map.json describes, without what stands between the objects.
void add_map_json(std::string& out, const analyzer::ChainExtent& extent);

[[nodiscard]] std::string map_heading();
// A row of the table under the heading; `file` holds the data. Only for data whose place in the file is known.
void add_map_row(std::string& out, const analyzer::ChainExtent& extent, std::string_view file);

}  // namespace cowvet::reports
