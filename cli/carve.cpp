// cowvet carve: deleted snapshots and earlier states that are still in the file of an image. The image is
// never written.
#include "reports/carve.hpp"

#include <fmt/format.h>

#include "base/text.hpp"
#include "cli/disks.hpp"
#include "cli/interrupt.hpp"
#include "cli/meter.hpp"
#include "cli/output_image.hpp"
#include "cli/shared.hpp"
#include "cli/verbs.hpp"
#include "repair/salvage.hpp"

namespace cowvet::cli {

namespace {

using base::ErrorKind;

struct CarveRequest {
  std::string image, out, map, format = "qcow2";
  std::uint64_t number = 0;
  bool progress = false, quiet = false;
  DiskWords disk;
};

base::Result<reports::CarveReport::Extracted> extract(const CarveRequest& r, const repair::Carving& carving,
                                                      base::Progress& progress) {
  if (r.number > carving.disks().size())
    return about_file(r.image,
                      {ErrorKind::usage,
                       fmt::format("there is no number {}: carve without --extract lists them", r.number)});
  const auto& layer = carving.disks()[static_cast<std::size_t>(r.number - 1)].layer;
  const auto& view = carving.view();
  if (view.header().v2.crypt_method != 0)
    return about_file(r.image,
                      {ErrorKind::usage, "is encrypted: what is carved of it can be listed, not extracted"});
  const engine::CreateOptions options{
      .size = layer.size,
      .cluster_size = view.geometry().cluster_size(),
      .extended_l2 = view.geometry().extended_l2(),
      .compression = view.header().compression().value_or(format::Compression::deflate)};
  auto output = make_output(r.out, r.format, options, progress);
  if (!output) return about_file(r.out, std::move(output.error()));
  auto done = repair::salvage_layer({view, nullptr}, layer, output->image->disk(), output->image->qcow2(),
                                    {.judge = carving.judge()}, progress);
  if (!done) return about_file(r.out, std::move(done.error()));
  if (auto published = output->publish(); !published) return about_file(r.out, std::move(published.error()));
  if (!r.map.empty())
    if (auto written = write_file(r.map, repair::mapfile(done->map, base::escape(r.image))); !written)
      return about_file(r.map, std::move(written.error()));
  return reports::CarveReport::Extracted{static_cast<std::size_t>(r.number), r.out, std::move(done->map)};
}

base::Result<reports::CarveReport> carve_as(const CarveRequest& r) {
  base::Progress progress;
  const StopOnSignal stop(progress);
  const auto device = file_opener(r.disk)(r.image, false);
  if (!device) return about_file(r.image, device.error());
  const Meter meter(progress, base::escape(r.image), Meter::style(r.progress, r.quiet));
  const auto carving = repair::Carving::run(**device, progress);
  if (!carving) return about_file(r.image, carving.error());
  reports::CarveReport report{
      .file = r.image, .disks = (*carving)->disks(), .unplaced = (*carving)->unplaced(), .extracted = {}};
  if (r.number != 0) {
    auto extracted = extract(r, **carving, progress);
    if (!extracted) return std::unexpected(extracted.error());
    report.extracted = std::move(*extracted);
  }
  return report;
}

}  // namespace

Exit carve(std::span<char* const> words, Console& console) {
  CarveRequest r;
  std::string output = "human";
  Arguments arguments(
      "carve",
      "Finds deleted snapshots and earlier states that are still in an image's file; the image is never "
      "written.",
      "  cowvet carve disk.qcow2                          # what there is, the most promising first\n"
      "  cowvet carve --extract 1 disk.qcow2 old.qcow2     # the first of them as an image\n"
      "What is freed is often given back to the file system at once (discard=unmap, as qemu-img snapshot -d "
      "does): then\n"
      "nothing is left. Exit code: 0 something was found, 1 it could not be done, 2 nothing was found.");
  arguments.number("--extract", r.number, "Make an image of the one with this number");
  arguments.word("-O", r.format, {"qcow2", "raw"}, "The image that is made; qcow2 when not given");
  arguments.text("--map", r.map, "FILE",
                 "With --extract: write what became of each range, as ddrescue's mapfile");
  arguments.flag("-p,--progress", r.progress, "Show progress even when stderr is no terminal");
  arguments.flag("-q,--quiet", r.quiet, "Print nothing but errors; the exit code tells");
  add_output(arguments, output, {"human", "json"});
  r.disk.add_force_share(arguments);
  r.disk.add_to(arguments);
  arguments.operand(r.image, "IMAGE", "Image");
  arguments.operand(r.out, "OUT", "With --extract: the file to make", false);
  if (const auto end = arguments.parse(words, console)) return *end;
  if (r.disk.image_options || (r.number == 0) != r.out.empty()) {
    console.complain(r.disk.image_options
                         ? "carve: name the image by its file"
                         : "carve: --extract NUMBER and OUT belong together: give both, or none");
    return Exit::failed;
  }
  const auto report = carve_as(r);
  if (!report) {
    console.complain(report.error().message);
    return Exit::failed;
  }
  if (!r.quiet)
    console.print(output == "json" ? reports::carve_json(*report)
                                   : reports::carve_text(*report, {.width = Console::terminal_width()}));
  return report->disks.empty() ? Exit::corrupt : Exit::success;
}

}  // namespace cowvet::cli
