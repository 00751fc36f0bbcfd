// cowvet create: a new image, as qemu-img create makes it.
#include "engine/create.hpp"

#include <fmt/format.h>

#include "base/text.hpp"
#include "cli/creation.hpp"
#include "cli/interrupt.hpp"
#include "cli/meter.hpp"
#include "cli/new_image.hpp"
#include "cli/overlay_guard.hpp"
#include "cli/program.hpp"
#include "cli/shared.hpp"
#include "cli/verbs.hpp"

namespace cowvet::cli {

namespace {

using base::ErrorKind;

struct CreateRequest {
  NewImage image;
  std::string size, backing, backing_format;
  std::vector<std::string> words, objects;
  bool quiet = false;
  OverlayGuard guard;
};

base::Result<void> create_as(const CreateRequest& request, Console& console) {
  CreationWords words(request.image.format == "qcow2");
  Secrets secrets;
  for (const auto& object : request.objects)
    if (auto added = secrets.add(object); !added) return added;
  for (const auto& list : request.words)
    if (auto added = words.add(list); !added) return added;
  if (request.image.format == "raw" && !(request.backing + request.backing_format).empty())
    return base::fail(ErrorKind::usage, "a raw image has no backing file: use -f qcow2");
  if (!request.size.empty()) words.set("size", request.size);
  if (!request.backing.empty()) words.set("backing_file", request.backing);
  if (!request.backing_format.empty()) words.set("backing_fmt", request.backing_format);
  if (auto fine = consider_backing(request.image, words); !fine) return fine;
  if (!words.get("size"))
    return base::fail(ErrorKind::usage, worded("the disk's size is missing: give one such as 10G",
                                               "Image creation needs a size parameter"));
  const auto options = words.options(secrets);
  if (!options) return std::unexpected(options.error());
  if (request.image.format == "qcow2")
    if (auto fine = engine::check_options(*options); !fine) return std::unexpected(fine.error());
  if (auto free = refuse_with_overlays(request.image.file, false, request.guard); !free) return free;
  if (!request.quiet)
    console.print(fmt::format("Formatting '{}', fmt={} {}\n", base::escape(request.image.file),
                              request.image.format, words.text()));
  base::Progress progress;
  const StopOnSignal stop(progress);
  const Meter meter(progress, base::escape(request.image.file), Meter::style(false, request.quiet));
  NewFiles files;
  if (const auto made = make_image(files, request.image, *options, progress); !made)
    return std::unexpected(made.error());
  files.keep();
  return {};
}

}  // namespace

Exit create(std::span<char* const> words, Console& console) {
  CreateRequest request;
  request.image.unsafe_hint = " (-u does without it)";
  Arguments arguments(
      "create", "Makes a new image, as qemu-img create does.",
      "  cowvet create -f qcow2 disk.qcow2 10G\n"
      "  cowvet create -f qcow2 -b base.qcow2 -F qcow2 overlay.qcow2   # as large as its base\n"
      "  cowvet create -f qcow2 -o preallocation=metadata,compression_type=zstd disk.qcow2 10G");
  arguments.word("-f", request.image.format, {"qcow2", "raw"}, "The new image's format; raw when not given");
  arguments.text("-b", request.backing, "FILE", "Backing file");
  arguments.text("-F", request.backing_format, "FORMAT", "The backing file's format");
  arguments.flag("-u", request.image.unsafe_backing, "Don't look at the backing file, which may be missing");
  arguments.texts("-o", request.words, "KEY=VALUE,...", "Options of the new image");
  arguments.texts("--object", request.objects, "SECRET", "A password: secret,id=ID,file=FILE");
  arguments.flag("-q,--quiet", request.quiet, "Print nothing but errors");
  request.guard.add_to(arguments);
  arguments.operand(request.image.file, "IMAGE", "File to make; one that is there is emptied");
  arguments.operand(request.size, "SIZE", "The disk's size; the backing file's when not given", false);
  if (const auto end = arguments.parse(words, console)) return *end;
  if (const auto done = create_as(request, console); !done) {
    console.complain(about(request.image.file, done.error()));
    return Exit::failed;
  }
  return Exit::success;
}

}  // namespace cowvet::cli
