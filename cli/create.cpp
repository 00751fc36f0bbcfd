// cowvet create: a new image, as qemu-img create makes it. A file that was there is emptied only when
// everything else is known to be right, and while nobody uses it; what could not be finished is removed.
#include "engine/create.hpp"

#include <filesystem>

#include <fmt/format.h>

#include "base/checked.hpp"
#include "base/text.hpp"
#include "cli/creation.hpp"
#include "cli/interrupt.hpp"
#include "cli/meter.hpp"
#include "cli/program.hpp"
#include "cli/shared.hpp"
#include "cli/verbs.hpp"
#include "engine/chain.hpp"
#include "engine/raw_disk.hpp"
#include "storage/naming.hpp"
#include "storage/path_state.hpp"

namespace cowvet::cli {

namespace {

using base::ErrorKind;

struct Request {
  std::string file, size, format = "raw", backing, backing_format;
  std::vector<std::string> words, objects;
  bool unsafe = false, quiet = false;
};

// Looks at the backing file as far as it must be right; its size counts when none was given.
base::Result<void> consider_backing(const Request& request, CreationWords& words) {
  const auto backing = words.get("backing_file");
  if (!backing) return {};
  const auto format = words.get("backing_fmt");
  if (!format || format->empty())
    return base::fail(ErrorKind::usage,
                      worded("the backing file's format must be said: add -F qcow2 or -F raw",
                             "Backing file specified without backing format"));
  const auto path = storage::backing_path(request.file, *backing);
  if (path == request.file)
    return base::fail(ErrorKind::usage, "an image can't be its own backing file: give it another name");
  if (request.unsafe) return {};
  const auto about_backing = [&](std::string message) {
    return base::fail(ErrorKind::usage,
                      fmt::format("backing file '{}': {} (-u does without it)", base::escape(path), message));
  };
  if (*format != "qcow2" && *format != "raw")
    return about_backing("cowvet opens qcow2 and raw, not " + base::escape(*format));
  const auto image =
      engine::open_image(path,
                         {.format = *format == "raw" ? engine::ImageFormat::raw : engine::ImageFormat::qcow2,
                          .no_backing = true},
                         [](const std::string& file, bool) { return storage::open_file(file); });
  if (!image) return about_backing(image.error().message);
  if (!words.get("size")) words.set("size", std::to_string((*image)->disk().size()));
  return {};
}

base::Result<void> create_raw(storage::Device& device, const engine::CreateOptions& options,
                              base::Progress& progress) {
  const auto size = base::round_up(options.size, format::limits::sector);
  if (!size || *size > format::limits::max_virtual_size)
    return base::fail(ErrorKind::usage, "the size is too large for any file");
  if (device.is_block_device())
    return device.size() >= *size
               ? base::Result<void>{}
               : base::fail(ErrorKind::limit, "the block device is too small for such a disk");
  return engine::resize_raw(device, *size, options.preallocation, progress);
}

// Removes the files that were made, unless all went well.
class Made {
 public:
  base::Result<std::unique_ptr<storage::Device>> make(const std::string& file) {
    const bool there = storage::look_at(file).kind != storage::PathState::Kind::missing;
    auto device = storage::create_file(file);
    if (device && !there) files_.push_back(file);
    return device;
  }
  void keep() { files_.clear(); }
  Made() = default;
  Made(const Made&) = delete;
  Made& operator=(const Made&) = delete;
  ~Made() {
    std::error_code ignored;
    for (const auto& file : files_) std::filesystem::remove(file, ignored);
  }

 private:
  std::vector<std::string> files_;
};

base::Result<void> make(const Request& request, const engine::CreateOptions& options,
                        base::Progress& progress) {
  Made made;
  const auto device = made.make(request.file);
  if (!device) return std::unexpected(device.error());
  std::unique_ptr<storage::Device> data;
  if (options.data_file) {
    auto opened = made.make(*options.data_file);
    if (!opened)
      return base::fail(
          opened.error().kind,
          fmt::format("data file '{}': {}", base::escape(*options.data_file), opened.error().message));
    data = std::move(*opened);
  }
  auto done = request.format == "raw" ? create_raw(**device, options, progress)
                                      : engine::create_qcow2(**device, data.get(), options, progress);
  if (done) made.keep();
  return done;
}

base::Result<void> create_as(const Request& request, Console& console) {
  CreationWords words(request.format == "qcow2");
  Secrets secrets;
  for (const auto& object : request.objects)
    if (auto added = secrets.add(object); !added) return added;
  for (const auto& list : request.words)
    if (auto added = words.add(list); !added) return added;
  if (request.format == "raw" && !(request.backing + request.backing_format).empty())
    return base::fail(ErrorKind::usage, "a raw image has no backing file: use -f qcow2");
  if (!request.size.empty()) words.set("size", request.size);
  if (!request.backing.empty()) words.set("backing_file", request.backing);
  if (!request.backing_format.empty()) words.set("backing_fmt", request.backing_format);
  if (auto fine = consider_backing(request, words); !fine) return fine;
  if (!words.get("size"))
    return base::fail(ErrorKind::usage, worded("the disk's size is missing: give one such as 10G",
                                               "Image creation needs a size parameter"));
  const auto options = words.options(secrets);
  if (!options) return std::unexpected(options.error());
  if (request.format == "qcow2")
    if (auto fine = engine::check_options(*options); !fine) return std::unexpected(fine.error());
  if (!request.quiet)
    console.print(fmt::format("Formatting '{}', fmt={} {}\n", base::escape(request.file), request.format,
                              words.text()));
  base::Progress progress;
  const StopOnSignal stop(progress);
  const Meter meter(progress, base::escape(request.file), Meter::style(false, request.quiet));
  return make(request, *options, progress);
}

}  // namespace

Exit create(std::span<char* const> words, Console& console) {
  Request request;
  Arguments arguments(
      "create", "Makes a new image, as qemu-img create does.",
      "  cowvet create -f qcow2 disk.qcow2 10G\n"
      "  cowvet create -f qcow2 -b base.qcow2 -F qcow2 overlay.qcow2   # as large as its base\n"
      "  cowvet create -f qcow2 -o preallocation=metadata,compression_type=zstd disk.qcow2 10G");
  arguments.word("-f", request.format, {"qcow2", "raw"}, "The new image's format; raw when not given");
  arguments.text("-b", request.backing, "FILE", "Backing file");
  arguments.text("-F", request.backing_format, "FORMAT", "The backing file's format");
  arguments.flag("-u", request.unsafe, "Don't look at the backing file, which may be missing");
  arguments.texts("-o", request.words, "KEY=VALUE,...", "Options of the new image");
  arguments.texts("--object", request.objects, "SECRET", "A password: secret,id=ID,file=FILE");
  arguments.flag("-q,--quiet", request.quiet, "Print nothing but errors");
  arguments.operand(request.file, "IMAGE", "File to make; one that is there is emptied");
  arguments.operand(request.size, "SIZE", "The disk's size; the backing file's when not given", false);
  if (const auto end = arguments.parse(words, console)) return *end;
  if (const auto done = create_as(request, console); !done) {
    console.complain(about(request.file, done.error()));
    return Exit::failed;
  }
  return Exit::success;
}

}  // namespace cowvet::cli
