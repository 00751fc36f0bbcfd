// cowvet compare: whether two images show the same disk, as qemu-img compare tells it, with its words and exit codes.
#include "engine/compare.hpp"

#include <algorithm>
#include <array>

#include <fmt/format.h>

#include "base/parallel.hpp"
#include "base/text.hpp"
#include "cli/disks.hpp"
#include "cli/interrupt.hpp"
#include "cli/meter.hpp"
#include "cli/shared.hpp"
#include "cli/verbs.hpp"

namespace cowvet::cli {

namespace {

using base::ErrorKind;
using Difference = engine::Comparison::Difference;

struct CompareRequest {
  std::array<std::string, 2> files, formats;
  std::uint64_t jobs = base::default_jobs();
  bool strict = false, progress = false, quiet = false;
  DiskWords disk;
};

base::Result<std::unique_ptr<engine::OpenImage>> open(const CompareRequest& request, std::size_t which) {
  const auto& format = request.formats[which];
  if (!format.empty() && format != "qcow2" && format != "raw")
    return base::fail(ErrorKind::usage,
                      fmt::format("cowvet opens qcow2 and raw, not '{}'", base::escape(format)));
  if (!format.empty() && request.disk.image_options)
    return base::fail(ErrorKind::usage, "the format is part of the option list: leave -f and -F out");
  if (auto known = check_cache_mode(request.disk.source_cache); !known) return std::unexpected(known.error());
  return open_disk(request.files[which], request.disk, {.format = image_format(format)});
}

// What differs, in qemu-img's words.
std::string told(const engine::Comparison& comparison, bool same_size) {
  std::string text;
  if (!same_size && comparison.common_part_same) text = "Warning: Image size mismatch!\n";
  switch (comparison.difference) {
    case Difference::none: return text + "Images are identical.\n";
    case Difference::size: return "Strict mode: Image size mismatch!\n";
    case Difference::allocation:
      return fmt::format("Strict mode: Offset {} block status mismatch!\n", comparison.offset);
    case Difference::content:
      return text + fmt::format("Content mismatch at offset {}!\n", comparison.offset);
  }
  __builtin_unreachable();
}

Exit compare_as(const CompareRequest& request, Console& console) {
  std::array<std::unique_ptr<engine::OpenImage>, 2> images;
  for (const std::size_t i : {0U, 1U}) {
    auto image = open(request, i);
    if (!image) {
      console.complain(about(request.files[i], image.error()));
      return Exit::not_opened;
    }
    images[i] = std::move(*image);
  }
  base::Progress progress;
  const StopOnSignal stop(progress);
  const Meter meter(progress, "comparing", Meter::style(request.progress, request.quiet));
  const auto jobs = static_cast<unsigned>(std::clamp<std::uint64_t>(request.jobs, 1, 64));
  const auto compared =
      engine::compare(*images[0], *images[1], {.strict = request.strict, .jobs = jobs}, progress);
  if (!compared) {
    const auto& failure = compared.error();
    console.complain(about(request.files[failure.second ? 1 : 0], failure.error));
    if (failure.error.kind == ErrorKind::cancelled) return Exit::failed;
    return failure.step == engine::CompareFailure::Step::content ? Exit::unreadable : Exit::unknown_state;
  }
  if (!request.quiet) console.print(told(*compared, images[0]->disk().size() == images[1]->disk().size()));
  return compared->difference == Difference::none ? Exit::success : Exit::different;
}

}  // namespace

Exit compare(std::span<char* const> words, Console& console) {
  CompareRequest request;
  Arguments arguments(
      "compare",
      "Says whether two images show the same disk. Exit codes: 0 the same, 1 different (or wrong arguments), "
      "2 an image can't be opened, 3 what is allocated can't be told, 4 content can't be read.",
      "  cowvet compare disk.qcow2 copy.raw\n"
      "  cowvet compare -s before.qcow2 after.qcow2   # sizes and allocation must be the same too");
  arguments.text("-f", request.formats[0], "FORMAT", "The first image's format; found out when not given");
  arguments.text("-F", request.formats[1], "FORMAT", "The second image's format; found out when not given");
  arguments.flag("-s", request.strict, "Strict: sizes, and what is allocated, must be the same too");
  arguments.flag("-p", request.progress, "Show progress where there is no terminal, too");
  arguments.flag("-q,--quiet", request.quiet, "Print nothing but errors");
  arguments.number("--jobs", request.jobs, "Threads");
  request.disk.add_source_cache(arguments);
  request.disk.add_force_share(arguments);
  request.disk.add_to(arguments);
  arguments.operand(request.files[0], "IMAGE1", "The first image");
  arguments.operand(request.files[1], "IMAGE2", "The second image");
  if (const auto end = arguments.parse(words, console)) return *end;
  return compare_as(request, console);
}

}  // namespace cowvet::cli
