// cowvet schema: prints the JSON Schema of what a verb prints with --output json.
#include <algorithm>

#include <fmt/format.h>

#include "base/text.hpp"
#include "cli/arguments.hpp"
#include "cli/verbs.hpp"
#include "reports/schemas.hpp"

namespace cowvet::cli {

Exit schema(std::span<char* const> words, Console& console) {
  std::string name;
  Arguments arguments("schema", "Prints the JSON Schema of what a verb prints with --output json.",
                      "  cowvet schema           # names of the schemas\n"
                      "  cowvet schema check     # describes 'cowvet check --output json'");
  arguments.operand(name, "NAME", "Name of a schema; without it, the names are listed", false);
  if (const auto end = arguments.parse(words, console)) return *end;

  const auto schemas = reports::all_schemas();
  if (name.empty()) {
    for (const auto& one : schemas) console.print(fmt::format("{}\n", one.name));
    return Exit::success;
  }
  const auto found = std::ranges::find(schemas, name, &reports::Schema::name);
  if (found == schemas.end()) {
    console.complain(
        fmt::format("schema: there is no schema '{}': 'cowvet schema' lists them", base::escape(name)));
    return Exit::failed;
  }
  console.print(found->text);
  return Exit::success;
}

}  // namespace cowvet::cli
