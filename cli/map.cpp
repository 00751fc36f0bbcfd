// cowvet map: where the bytes of a disk lie, as qemu-img map prints it.
#include "reports/map.hpp"

#include <fmt/format.h>

#include "analyzer/mapping.hpp"
#include "base/text.hpp"
#include "cli/interrupt.hpp"
#include "cli/shared.hpp"
#include "cli/verbs.hpp"

namespace cowvet::cli {

namespace {

// Prints extents as they come; false: one of them has no row in the table.
class Printer {
 public:
  Printer(Console& console, const std::vector<analyzer::Layer>& layers, bool json)
      : console_(console), layers_(layers), json_(json) {
    console_.print(json_ ? "[" : reports::map_heading());
  }

  bool print(const analyzer::ChainExtent& extent) {
    if (json_) {
      if (any_) console_.pending() += ",\n";
      any_ = true;
      reports::add_map_json(console_.pending(), extent);
    } else if (extent.extent.data && !extent.extent.zero) {
      if (!extent.extent.host) return false;
      const auto& layer = layers_[extent.depth];
      const bool external = layer.info.qcow2() && layer.info.header->external_data_file();
      reports::add_map_row(console_.pending(), extent,
                           external ? layer.info.data_file_name.value_or("") : layer.file);
    }
    console_.settle();
    return true;
  }

  void finish() {
    if (json_) console_.print("]\n");
  }

 private:
  Console& console_;
  const std::vector<analyzer::Layer>& layers_;
  bool json_;
  bool any_ = false;
};

}  // namespace

Exit map(std::span<char* const> words, Console& console) {
  Shared shared;
  std::string image;
  std::optional<std::uint64_t> start_offset, max_length;
  Arguments arguments(
      "map", "Prints where the bytes of a disk lie, as qemu-img map does.",
      "  cowvet map disk.qcow2                           # data only: guest and file offsets\n"
      "  cowvet map --output json -s 1G -l 64k disk.qcow2");
  shared.add_to(arguments);
  add_output(arguments, shared.output, {"human", "json"});
  arguments.size("-s,--start-offset", start_offset, "First byte of the disk to look at");
  arguments.size("-l,--max-length", max_length, "Most bytes to look at");
  arguments.operand(image, "IMAGE", "Image to look at");
  if (const auto end = arguments.parse(words, console)) return *end;
  if (const auto settled = shared.settle(image); !settled) {
    console.complain(settled.error().message);
    return Exit::failed;
  }

  const auto open = [&](const std::string& file) { return open_image(file, shared, console); };
  auto layers = analyzer::open_chain(image, chosen_format(shared), true, open);
  if (!layers) {
    console.complain(about(image, layers.error()));
    return Exit::failed;
  }
  analyzer::open_data_files(*layers, open);
  base::Progress progress;
  const StopOnSignal stop(progress);
  analyzer::ChainMapping mapping(*layers);
  const std::uint64_t start = start_offset.value_or(0);
  const std::uint64_t end =
      start >= mapping.size() ? start
                              : start + std::min(max_length.value_or(mapping.size()), mapping.size() - start);
  Printer printer(console, *layers, shared.output == "json");
  if (end == start) printer.print({.extent = {.begin = base::GuestOffset{start}}, .depth = 0});
  for (std::uint64_t at = start; at < end && !progress.stop_requested();) {
    const auto extent = mapping.at(base::GuestOffset{at}, end);
    if (!extent) {
      console.complain(about(image, extent.error()));
      return Exit::failed;
    }
    if (!printer.print(*extent)) {
      console.complain(
          fmt::format("{}: guest offset {:#x} is compressed or encrypted, which the table can't show: use "
                      "--output json",
                      base::escape(image), at));
      return Exit::failed;
    }
    at = extent->extent.end();
  }
  if (progress.stop_requested()) {
    console.complain(base::escape(image) + ": stopped before the end of the disk");
    return Exit::failed;
  }
  printer.finish();
  return Exit::success;
}

}  // namespace cowvet::cli
