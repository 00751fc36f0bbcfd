// cowvet layout: who owns every byte of an image's file.
#include "reports/layout.hpp"

#include "base/text.hpp"
#include "cli/interrupt.hpp"
#include "cli/meter.hpp"
#include "cli/shared.hpp"
#include "cli/verbs.hpp"

namespace cowvet::cli {

Exit layout(std::span<char* const> words, Console& console) {
  Shared shared;
  bool progress_asked = false;
  std::string image;
  std::uint64_t jobs = 0;
  Arguments arguments("layout", "Prints who owns every byte of an image's file, in the order of the file.",
                      "  cowvet layout disk.qcow2\n"
                      "  cowvet layout --output json disk.qcow2    # the lengths add up to the file's size");
  shared.add_to(arguments);
  add_output(arguments, shared.output, {"human", "json"});
  arguments.flag("-p,--progress", progress_asked, "Show progress even when stderr is no terminal");
  arguments.number("--jobs", jobs, "Threads (default: as many as there are cores)");
  arguments.operand(image, "IMAGE", "Image to look at");
  if (const auto end = arguments.parse(words, console)) return *end;
  if (const auto settled = shared.settle(image); !settled) {
    console.complain(settled.error().message);
    return Exit::failed;
  }
  const auto device = open_image(image, shared, console);
  if (!device) {
    console.complain(about(image, device.error()));
    return Exit::failed;
  }
  const bool json = shared.output == "json";
  base::Progress progress;
  const StopOnSignal stop(progress);
  analyzer::Options options;
  options.jobs = static_cast<unsigned>(jobs);
  options.assume_qcow2 = shared.format == "qcow2";
  options.path = image;
  reports::LayoutTotals totals;
  bool any = false;
  const auto print = [&](const analyzer::LayoutRun& run) {
    if (!any) console.pending() += json ? reports::layout_json_opening(image) : reports::layout_heading();
    if (json && any) console.pending() += ",\n";
    any = true;
    totals.add(run);
    json ? reports::add_layout_json(console.pending(), run) : reports::add_layout_row(console.pending(), run);
    console.settle();
  };
  const auto summary = [&] {
    const Meter meter(progress, base::escape(image), Meter::style(progress_asked, false));
    return analyzer::layout(**device, options, progress, print);
  }();
  if (!summary) {
    console.complain(about(image, summary.error()));
    return Exit::failed;
  }
  console.print(json ? totals.json_closing(*summary) : totals.text(*summary));
  return Exit::success;
}

}  // namespace cowvet::cli
