// cowvet info: what an image says of itself, as qemu-img info prints it. Needs no key, no data file, no backing file.
#include "reports/info.hpp"

#include <vector>

#include <fmt/format.h>

#include "analyzer/chain.hpp"
#include "base/text.hpp"
#include "cli/shared.hpp"
#include "cli/verbs.hpp"

namespace cowvet::cli {

Exit info(std::span<char* const> words, Console& console) {
  Shared shared;
  bool whole_chain = false;
  std::string image;
  Arguments arguments("info", "Prints what an image says of itself, as qemu-img info does.",
                      "  cowvet info disk.qcow2\n"
                      "  cowvet info --backing-chain --output json overlay.qcow2");
  shared.add_to(arguments);
  add_output(arguments, shared.output, {"human", "json"});
  arguments.flag("--backing-chain", whole_chain, "Also the backing files, top first");
  arguments.operand(image, "IMAGE", "Image to look at");
  if (const auto end = arguments.parse(words, console)) return *end;
  if (const auto settled = shared.settle(image); !settled) {
    console.complain(settled.error().message);
    return Exit::failed;
  }

  const auto layers =
      analyzer::open_chain(image, chosen_format(shared), whole_chain,
                           [&](const std::string& file) { return open_image(file, shared, console); });
  if (!layers) {
    console.complain(about(image, layers.error()));
    return Exit::failed;
  }
  std::vector<reports::InfoReport> chain;
  for (const auto& layer : *layers) chain.push_back({layer.file, layer.info});
  console.print(shared.output == "json" ? reports::info_json(chain, whole_chain) : reports::info_text(chain));
  return Exit::success;
}

}  // namespace cowvet::cli
