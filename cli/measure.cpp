// cowvet measure: how much space a new image would take, as qemu-img measure tells it.
#include <fmt/format.h>

#include "base/checked.hpp"
#include "cli/creation.hpp"
#include "cli/disks.hpp"
#include "cli/shared.hpp"
#include "cli/verbs.hpp"
#include "engine/chain.hpp"
#include "engine/create.hpp"

namespace cowvet::cli {

namespace {

struct MeasureRequest {
  std::string image, image_format, format = "raw", output = "human", snapshot;
  std::vector<std::string> words;
  DiskWords disks;
  std::optional<std::uint64_t> size;
};

struct Measured {
  engine::Measure space;
  std::optional<std::uint64_t>
      bitmaps;  // bytes that the image's bitmaps would take; nothing where there can be none
};

// Bytes of the clusters in which the disk has data.
base::Result<std::uint64_t> data_bytes(engine::OpenImage& image, std::uint64_t unit) {
  const std::uint64_t size = image.disk().size();
  std::uint64_t sum = 0, counted_end = 0;
  for (std::uint64_t at = 0; at < size;) {
    const auto part = engine::chain_extent(image, base::GuestOffset{at}, size - at);
    if (!part) return std::unexpected(part.error());
    const std::uint64_t end = at + part->extent.length;
    if (part->extent.data && !part->extent.zero) {
      const std::uint64_t begin = std::max(counted_end, at / unit * unit);
      counted_end = std::max(begin, base::divide_up(end, unit) * unit);
      sum += counted_end - begin;
    }
    at = end;
  }
  return sum;
}

base::Result<Measured> measure_as(MeasureRequest& request) {
  if (request.image.empty() == !request.size)
    return base::fail(base::ErrorKind::usage, "give either --size or an image");
  CreationWords words(request.format == "qcow2");
  if (request.disks.image_options && !request.image_format.empty())
    return base::fail(base::ErrorKind::usage, "--image-opts says the format: leave -f out");
  const auto secrets = request.disks.secrets();
  if (!secrets) return std::unexpected(secrets.error());
  for (const auto& list : request.words)
    if (auto added = words.add(list); !added) return std::unexpected(added.error());
  auto options = words.options(*secrets);
  if (!options) return std::unexpected(options.error());
  if (request.format == "qcow2")
    if (auto fine = engine::measure_qcow2(*options, 0); !fine) return std::unexpected(fine.error());
  const std::uint64_t unit = request.format == "qcow2" ? options->cluster_size : 1;
  std::uint64_t data = 0;
  std::optional<std::uint64_t> bitmaps;
  if (!request.image.empty()) {
    const auto image = open_snapshot(request.image, request.disks,
                                     {.format = image_format(request.image_format)}, request.snapshot);
    if (!image) return std::unexpected(image.error());
    const auto bytes = data_bytes(**image, unit);
    if (!bytes) return std::unexpected(bytes.error());
    data = *bytes;
    request.size = (*image)->disk().size();
    auto* const qcow2 = (*image)->qcow2_image();
    if (request.format == "qcow2" && options->version >= 3 && qcow2 != nullptr && qcow2->header().has_v3())
      bitmaps = engine::measure_bitmaps(qcow2->bitmaps(), qcow2->size(), options->cluster_size);
  }
  options->size = *request.size;
  if (request.format == "qcow2") {
    const auto space = engine::measure_qcow2(*options, data);
    if (!space) return std::unexpected(space.error());
    return Measured{*space, bitmaps};
  }
  const std::uint64_t whole = base::round_up(options->size, format::limits::sector).value_or(options->size);
  return Measured{{.required = whole, .fully_allocated = whole}, {}};
}

std::string json(const Measured& m) {
  return fmt::format("{{\n{}    \"required\": {},\n    \"fully-allocated\": {}\n}}\n",
                     m.bitmaps ? fmt::format("    \"bitmaps\": {},\n", *m.bitmaps) : "", m.space.required,
                     m.space.fully_allocated);
}

std::string text(const Measured& m) {
  return fmt::format("required size: {}\nfully allocated size: {}\n{}", m.space.required,
                     m.space.fully_allocated, m.bitmaps ? fmt::format("bitmaps size: {}\n", *m.bitmaps) : "");
}

}  // namespace

Exit measure(std::span<char* const> words, Console& console) {
  MeasureRequest request;
  Arguments arguments("measure", "Tells how much space a new image would take, as qemu-img measure does.",
                      "  cowvet measure -O qcow2 --size 100G\n"
                      "  cowvet measure -O qcow2 -o cluster_size=2M disk.raw   # when that is converted");
  arguments.word("-O", request.format, {"qcow2", "raw"}, "The new image's format; raw when not given");
  arguments.texts("-o", request.words, "KEY=VALUE,...", "Options of the new image, as for create");
  request.disks.add_to(arguments);
  request.disks.add_force_share(arguments);
  arguments.size("--size", request.size, "The disk's size, when there is no image to be converted");
  arguments.word("-f", request.image_format, {"qcow2", "raw"},
                 "The image's format; found out when not given");
  arguments.text("-l", request.snapshot, "SNAPSHOT", "Look at this internal snapshot");
  add_output(arguments, request.output, {"human", "json"});
  arguments.operand(request.image, "IMAGE", "Image that would be converted", false);
  if (const auto end = arguments.parse(words, console)) return *end;
  const auto measured = measure_as(request);
  if (!measured) {
    console.complain(about(request.image.empty() ? "measure" : request.image, measured.error()));
    return Exit::failed;
  }
  console.print(request.output == "json" ? json(*measured) : text(*measured));
  return Exit::success;
}

}  // namespace cowvet::cli
