// cowvet dump: shows structures of an image field by field, damaged or not.
#include "reports/dump.hpp"

#include <vector>

#include "cli/shared.hpp"
#include "cli/verbs.hpp"

namespace cowvet::cli {

Exit dump(std::span<char* const> words, Console& console) {
  Shared shared;
  std::string image;
  std::vector<std::string> paths;
  Arguments arguments(
      "dump", "Shows structures of an image field by field, as stored; works on damaged images.",
      "  cowvet dump disk.qcow2                          # header and its extensions\n"
      "  cowvet dump disk.qcow2 l1 'l1[3].l2[17]'        # paths as findings name them\n"
      "  cowvet dump disk.qcow2 snapshot@0x50000         # any record or word at any place\n"
      "Paths: header ext ext[N] backing_name refcount_table[N] refcount_block[N] cluster[N] l1[N]\n"
      "  l1[N].l2[M] snapshot[N] snapshot[N].l1[M].l2[K] bitmap[N] bitmap[N].table luks luks.slot[N];\n"
      "  without a number, all of them. Records and words for NAME@OFFSET: see docs/format.md.");
  shared.add_io(arguments);
  add_output(arguments, shared.output, {"human", "json"});
  arguments.operand(image, "IMAGE", "Image to look at");
  arguments.operands(paths, "PATH", "Structures to show", false);
  if (const auto end = arguments.parse(words, console)) return *end;

  const auto device = open_image(image, shared, console);
  if (!device) {
    console.complain(about(image, device.error()));
    return Exit::failed;
  }
  const bool json = shared.output == "json";
  if (paths.empty()) paths = {"header", "ext"};
  const analyzer::Structures structures(**device);
  bool first = true;
  if (json) console.print(reports::dump_json_opening(image));
  const auto print = [&](const analyzer::Structure& structure) {
    if (!first) console.print(json ? ",\n" : "\n");
    first = false;
    console.print(json ? reports::dump_json(structure) : reports::dump_text(structure));
  };
  Exit code = Exit::success;
  for (const auto& path : paths) {
    if (const auto done = structures.visit(path, print); !done) {
      console.complain(about(image, done.error()));
      code = Exit::failed;
    }
  }
  if (json) console.print(reports::dump_json_closing());
  return code;
}

}  // namespace cowvet::cli
