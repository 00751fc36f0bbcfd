// cowvet convert: the content of images into another one, as qemu-img convert copies it.
#include <algorithm>
#include <array>
#include <charconv>

#include <fmt/format.h>

#include "base/text.hpp"
#include "cli/conversion.hpp"
#include "cli/shared.hpp"
#include "cli/verbs.hpp"

namespace cowvet::cli {

namespace {

using base::ErrorKind;

constexpr std::uint64_t most_zero_unit = 16 << 20;

struct ConvertRequest {
  std::vector<std::string> files;  // sources, and the target behind them
  std::string format, target_format, snapshot, backing, backing_format, threads;
  std::vector<std::string> words;
  DiskWords disks;
  OverlayGuard guard;
  std::optional<std::uint64_t> zero_unit, rate;
  bool target_options = false, no_create = false, target_is_zero = false, bitmaps = false,
       skip_broken = false;
  bool compress = false, offload = false, out_of_order = false, salvage = false, progress = false,
       quiet = false;
};

// What contradicts itself, whatever the images are. Empty: nothing.
std::string contradiction(const ConvertRequest& r) {
  const bool several = r.files.size() > 2;
  if (r.files.size() < 2) return "name an image, and the file to make of it";
  if (r.compress && !r.target_options && r.target_format != "qcow2")
    return "raw images can't be compressed: add -O qcow2, or leave -c out";
  if (r.offload && r.compress) return "-C copies clusters as they are: leave it or -c out";
  if (r.offload && r.zero_unit) return "-C doesn't look at what it copies: leave it or -S out";
  if (r.offload && r.salvage) return "-C doesn't look at what it copies: leave it or --salvage out";
  if (r.target_is_zero && !r.no_create) return "--target-is-zero is for a target that is there: add -n";
  if (r.target_options && !r.no_create) return "--target-image-opts is for a target that is there: add -n";
  if (r.target_options && !r.target_format.empty())
    return "--target-image-opts says the target's format: leave -O out";
  if (r.disks.image_options && !r.format.empty()) return "--image-opts says the format: leave -f out";
  if (r.no_create && !r.words.empty()) return "-o is for a target that is made: leave it or -n out";
  if (r.skip_broken && !r.bitmaps) return "--skip-broken-bitmaps is for --bitmaps: add that";
  if (r.bitmaps && r.target_format == "raw")
    return "raw images can't hold bitmaps: add -O qcow2, or leave --bitmaps out";
  if (several && r.bitmaps) return "bitmaps can be copied from one image only: leave --bitmaps out";
  if (several && !r.snapshot.empty()) return "-l takes one image: leave the others out";
  if (several && !r.backing.empty()) return "several images have no backing file in common: leave -B out";
  if (r.backing.empty() && !r.backing_format.empty()) return "-F is the format of a backing file: add -B";
  if (r.zero_unit && (*r.zero_unit % 512 != 0 || *r.zero_unit > most_zero_unit))
    return "-S takes a multiple of 512 up to 16M, or 0";
  return {};
}

base::Result<unsigned> threads_of(const ConvertRequest& r) {
  if (r.threads.empty()) return 0U;
  unsigned number = 0;
  const char* const end = r.threads.data() + r.threads.size();
  const auto [stop, error] = std::from_chars(r.threads.data(), end, number);
  if (error != std::errc{} || stop != end || number < 1 || number > 16)
    return base::fail(ErrorKind::usage, "-m takes a number from 1 to 16");
  return number;
}

std::unexpected<base::Error> about_convert(base::Error error) {
  error.message = "convert: " + error.message;
  return std::unexpected(std::move(error));
}

base::Result<void> open_sources(const ConvertRequest& r, Conversion& c) {
  for (const auto& file : std::span(r.files).first(r.files.size() - 1)) {
    auto image = open_snapshot(
        file, r.disks, {.format = image_format(r.format), .cache_bytes = source_cache_bytes}, r.snapshot);
    if (!image) {
      image.error().message = about(file, image.error());
      return std::unexpected(std::move(image.error()));
    }
    c.content.append(**image);
    c.sources.push_back(std::move(*image));
  }
  return {};
}

base::Result<void> read_words(const ConvertRequest& r, Conversion& c) {
  if (const auto wrong = contradiction(r); !wrong.empty()) return base::fail(ErrorKind::usage, wrong);
  const auto threads = threads_of(r);
  if (!threads) return std::unexpected(threads.error());
  for (const auto* const mode : {&r.disks.cache, &r.disks.source_cache})
    if (auto fine = check_cache_mode(*mode); !fine) return fine;
  auto secrets = r.disks.secrets();
  if (!secrets) return std::unexpected(secrets.error());
  c.secrets = std::move(*secrets);
  for (const auto& list : r.words)
    if (auto added = c.words.add(list); !added) return added;
  if (!c.words.qcow2() && !r.backing.empty())
    return base::fail(ErrorKind::usage, "a raw image has no backing file: use -O qcow2");
  if (!r.backing.empty() && !c.words.get("backing_file")) c.words.set("backing_file", r.backing);
  if (!r.backing_format.empty()) c.words.set("backing_fmt", r.backing_format);
  if (r.files.size() > 2 && c.words.get("backing_file"))
    return base::fail(ErrorKind::usage,
                      "several images have no backing file in common: leave backing_file out");

  c.create = !r.no_create;
  c.guard = r.guard;
  c.target.file = r.files.back();
  c.target.format = r.target_format;
  c.target_words = r.disks;
  c.target_words.image_options = r.target_options;
  c.target_words.force_share = false;
  c.durable = !r.disks.cache.empty() && r.disks.cache != "unsafe";
  c.reads_zero = r.target_is_zero;
  c.keeps_backing = c.words.get("backing_file").has_value();
  c.compressed = r.compress;
  c.bitmaps = r.bitmaps;
  c.skip_broken_bitmaps = r.skip_broken;
  c.options.zero_unit = r.zero_unit.value_or(c.options.zero_unit);
  c.options.jobs = *threads;
  c.options.rate = r.rate.value_or(0);
  c.salvage = r.salvage;
  c.progress = r.progress;
  c.quiet = r.quiet;
  return {};
}

base::Result<void> convert_as(ConvertRequest& r, Console& console) {
  if (r.target_format.empty() && !r.target_options) r.target_format = "raw";
  Conversion c(r.target_format != "raw");
  if (auto read = read_words(r, c); !read) return about_convert(std::move(read.error()));
  if (auto opened = open_sources(r, c); !opened) return opened;
  return convert_images(c, console);
}

}  // namespace

Exit convert(std::span<char* const> words, Console& console) {
  ConvertRequest r;
  Arguments arguments("convert", "Copies the content of images into another one, as qemu-img convert does.",
                      "  cowvet convert -O qcow2 disk.raw disk.qcow2\n"
                      "  cowvet convert -c -O qcow2 -o compression_type=zstd disk.qcow2 small.qcow2\n"
                      "  cowvet convert -O raw -l before-update disk.qcow2 old.raw   # an internal snapshot\n"
                      "  cowvet convert -O qcow2 -B base.qcow2 -F qcow2 top.qcow2 copy.qcow2\n"
                      "  cowvet convert -n -O raw disk.qcow2 /dev/vg/disk            # into what is there");
  r.disks.add_to(arguments);
  r.guard.add_to(arguments);
  r.disks.add_force_share(arguments);
  r.disks.add_source_cache(arguments);
  arguments.text(
      "-t", r.disks.cache, "MODE",
      "unsafe (when not given): a new target is written to the disk when the kernel likes; others: before "
      "the end");
  arguments.flag("--target-image-opts", r.target_options, "The target is a list of options; with -n");
  arguments.word("-f", r.format, {"qcow2", "raw"}, "The images' format; found out when not given");
  arguments.word("-O", r.target_format, {"qcow2", "raw"}, "The target's format; raw when not given");
  arguments.texts("-o", r.words, "KEY=VALUE,...", "Options of the target, as for create");
  arguments.text("-B", r.backing, "FILE", "The target's backing file: what it shows already is not copied");
  arguments.text("-F", r.backing_format, "FORMAT", "The backing file's format");
  arguments.flag("-c", r.compress, "Compress clusters");
  arguments.text("-l", r.snapshot, "SNAPSHOT", "Copy this internal snapshot: id, name or snapshot.id=ID");
  arguments.size("-S", r.zero_unit,
                 "Zeros of at least so many bytes become holes; 4k when not given, 0: none");
  arguments.flag("-n", r.no_create, "Write into a target that is there");
  arguments.flag("--target-is-zero", r.target_is_zero, "The target that is there reads as zeros");
  arguments.flag("--bitmaps", r.bitmaps, "Copy the persistent bitmaps as well");
  arguments.flag("--skip-broken-bitmaps", r.skip_broken, "Leave out bitmaps that can't be copied");
  arguments.flag("--salvage", r.salvage, "What can't be read becomes zeros, and is told");
  arguments.size("-r", r.rate, "Read at most so many bytes a second");
  arguments.text("-m", r.threads, "N",
                 "Read and compress with so many threads, 1 to 16; when not given: one for each core");
  arguments.flag("-W", r.out_of_order,
                 "Taken, without effect: threads read out of order, and one writes at a time, in order, "
                 "which is faster");
  arguments.flag("-C", r.offload,
                 "Taken, without effect: bytes are read and written, so that zeros are found and holes stay");
  arguments.flag("-p", r.progress, "Show progress, on a terminal or not");
  arguments.flag("-q,--quiet", r.quiet, "Print nothing but errors");
  arguments.operands(r.files, "IMAGE... TARGET",
                     "Images, one behind the other, and the file to make of them");
  if (const auto end = arguments.parse(words, console)) return *end;
  if (const auto done = convert_as(r, console); !done) {
    console.complain(done.error().message);
    return Exit::failed;
  }
  return Exit::success;
}

}  // namespace cowvet::cli
