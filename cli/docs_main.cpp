// cowvet-docs DIRECTORY: writes the generated pages of the documentation there.
#include <cstdlib>
#include <string>

#include <fmt/format.h>

#include "cli/console.hpp"
#include "reports/pages.hpp"

int main(int argc, char** argv) {
  using namespace cowvet;
  using namespace cowvet::cli;
  Console console;
  if (argc != 2) {
    console.complain("usage: cowvet-docs DIRECTORY");
    return EXIT_FAILURE;
  }
  for (const auto& page : reports::all_pages()) {
    const auto file = fmt::format("{}/{}", argv[1], page.name);
    if (const auto written = write_file(file, page.text()); !written) {
      console.complain(fmt::format("{}: {}", file, written.error().message));
      return EXIT_FAILURE;
    }
  }
  return EXIT_SUCCESS;
}
