#include "reports/map.hpp"

#include <iterator>

#include <fmt/format.h>

#include "base/text.hpp"

namespace cowvet::reports {

namespace {

// As C's "%#x": zero has no prefix.
std::string hex(std::uint64_t number) { return number == 0 ? "0" : fmt::format("{:#x}", number); }

}  // namespace

void add_map_json(std::string& out, const analyzer::ChainExtent& e) {
  const auto& extent = e.extent;
  fmt::format_to(
      std::back_inserter(out),
      R"({{ "start": {}, "length": {}, "depth": {}, "present": {}, "zero": {}, "data": {}, "compressed": {})",
      extent.begin.raw(), extent.length, e.depth, extent.allocated, extent.zero, extent.data,
      extent.compressed);
  if (extent.host) fmt::format_to(std::back_inserter(out), R"(, "offset": {})", extent.host->raw());
  out += '}';
}

std::string map_heading() {
  return fmt::format("{:<16}{:<16}{:<16}{}\n", "Offset", "Length", "Mapped to", "File");
}

void add_map_row(std::string& out, const analyzer::ChainExtent& e, std::string_view file) {
  fmt::format_to(std::back_inserter(out), "{:<16}{:<16}{:<16}{}\n", hex(e.extent.begin.raw()),
                 hex(e.extent.length), hex(e.extent.host->raw()), base::escape(file));
}

}  // namespace cowvet::reports
