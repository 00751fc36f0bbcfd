// cowvet resize: makes a disk larger or smaller, as qemu-img resize does. Promises: nothing is cut off unless --shrink
// says so; after a crash the disk has its old size or its new one.
#include <fmt/format.h>

#include "base/text.hpp"
#include "cli/disks.hpp"
#include "cli/interrupt.hpp"
#include "cli/meter.hpp"
#include "cli/overlay_guard.hpp"
#include "cli/shared.hpp"
#include "cli/verbs.hpp"
#include "engine/raw_disk.hpp"

namespace cowvet::cli {

namespace {

using base::ErrorKind;
using engine::Preallocation;

struct ResizeRequest {
  std::string image, size, format, preallocation = "off";
  bool shrink = false, quiet = false;
  DiskWords disk;
  OverlayGuard guard;
};

// "-100", which is no option: the size always comes last.
bool is_size(std::string_view word) {
  return word.size() > 1 && (word[0] == '-' || word[0] == '+') && word[1] >= '0' && word[1] <= '9';
}

// The size that `text` means for a disk of `now` bytes.
base::Result<std::uint64_t> wanted(std::string_view text, std::uint64_t now) {
  const char sign = text.starts_with('+') || text.starts_with('-') ? text.front() : ' ';
  if (sign != ' ') text.remove_prefix(1);
  const auto bytes = parse_size(text);
  if (!bytes)
    return base::fail(ErrorKind::usage,
                      fmt::format("'{}' is no size: give one such as 10G or +512M", base::escape(text)));
  if (sign == '-' ? *bytes >= now : sign == ' ' && *bytes == 0)
    return base::fail(ErrorKind::usage, "the new size must be positive: a disk can't be empty");
  if (sign == '+' && *bytes > UINT64_MAX - now)
    return base::fail(ErrorKind::usage, "the new size is too large for any disk");
  return sign == '+' ? now + *bytes : sign == '-' ? now - *bytes : *bytes;
}

Preallocation preallocation(const std::string& word) {
  return word == "metadata" ? Preallocation::metadata
         : word == "falloc" ? Preallocation::falloc
         : word == "full"   ? Preallocation::full
                            : Preallocation::off;
}

base::Result<void> resize_as(const ResizeRequest& request) {
  if (request.disk.image_options && !request.format.empty())
    return base::fail(ErrorKind::usage, "the format is part of the option list: leave -f out");
  if (auto free = refuse_with_overlays(request.image, request.disk.image_options, request.guard); !free)
    return free;
  const auto image =
      open_disk(request.image, request.disk, {.format = image_format(request.format), .writable = true});
  if (!image) return std::unexpected(image.error());
  const std::uint64_t now = (*image)->disk().size();
  const auto size = wanted(request.size, now);
  if (!size) return std::unexpected(size.error());
  const auto mode = preallocation(request.preallocation);
  if (*size <= now && mode != Preallocation::off)
    return base::fail(ErrorKind::usage, "only what is added can be preallocated: leave --preallocation out");
  if (*size < now && !request.shrink)
    return base::fail(
        ErrorKind::usage,
        fmt::format("the disk has {} bytes, and what lies behind byte {} would be lost: use the "
                    "--shrink option to perform a shrink operation",
                    now, *size));
  base::Progress progress;
  const StopOnSignal stop(progress);
  const Meter meter(progress, base::escape(request.image), Meter::style(false, request.quiet));
  auto* const qcow2 = (*image)->qcow2();
  if (qcow2 == nullptr) return engine::resize_raw((*image)->device(), *size, mode, progress);
  auto resized = qcow2->resize(*size, mode, &progress);
  auto closed = (*image)->close();  // whatever was undone becomes durable
  return resized ? closed : resized;
}

}  // namespace

Exit resize(std::span<char* const> words, Console& console) {
  ResizeRequest request;
  if (!words.empty() && is_size(words.back())) {
    request.size = words.back();
    words = words.first(words.size() - 1);
  }
  Arguments arguments("resize", "Makes a disk larger or smaller.",
                      "  cowvet resize disk.qcow2 20G\n"
                      "  cowvet resize disk.qcow2 +512M\n"
                      "  cowvet resize --shrink disk.qcow2 -1G   # what lies behind the new end is lost");
  arguments.word("-f", request.format, {"qcow2", "raw"}, "The image's format; found out when not given");
  arguments.flag("--shrink", request.shrink, "Allow the disk to become smaller");
  arguments.word("--preallocation", request.preallocation, {"off", "metadata", "falloc", "full"},
                 "How space is taken for what is added");
  arguments.flag("-q,--quiet", request.quiet, "Print nothing but errors");
  request.disk.add_to(arguments);
  request.guard.add_to(arguments);
  arguments.operand(request.image, "IMAGE", "Image to resize");
  if (request.size.empty())
    arguments.operand(request.size, "SIZE", "The new size, or with + or - how much is added or taken away");
  if (const auto end = arguments.parse(words, console)) return *end;
  if (const auto done = resize_as(request); !done) {
    console.complain(about(request.image, done.error()));
    return Exit::failed;
  }
  if (!request.quiet) console.print("Image resized.\n");
  return Exit::success;
}

}  // namespace cowvet::cli
