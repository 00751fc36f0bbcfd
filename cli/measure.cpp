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

struct Request {
  std::string image, image_format, format = "raw", output = "human", snapshot;
  std::vector<std::string> words;
  DiskWords opening;
  std::optional<std::uint64_t> size;
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

base::Result<engine::Measure> measure_as(Request& request) {
  if (request.image.empty() == !request.size)
    return base::fail(base::ErrorKind::usage, "give either --size or an image");
  CreationWords words(request.format == "qcow2");
  const auto secrets = request.opening.secrets();
  if (!secrets) return std::unexpected(secrets.error());
  for (const auto& list : request.words)
    if (auto added = words.add(list); !added) return std::unexpected(added.error());
  auto options = words.options(*secrets);
  if (!options) return std::unexpected(options.error());
  if (request.format == "qcow2")
    if (auto fine = engine::measure_qcow2(*options, 0); !fine) return std::unexpected(fine.error());
  const std::uint64_t unit = request.format == "qcow2" ? options->cluster_size : 1;
  std::uint64_t data = 0;
  if (!request.image.empty()) {
    engine::ChainOptions chain;
    if (request.image_format == "qcow2") chain.format = engine::ImageFormat::qcow2;
    if (request.image_format == "raw") chain.format = engine::ImageFormat::raw;
    if (!request.snapshot.empty()) chain.snapshot = request.snapshot;
    const auto image = open_disk(request.image, request.opening, std::move(chain));
    if (!image) return std::unexpected(image.error());
    const auto bytes = data_bytes(**image, unit);
    if (!bytes) return std::unexpected(bytes.error());
    data = *bytes;
    request.size = (*image)->disk().size();
  }
  options->size = *request.size;
  if (request.format == "qcow2") return engine::measure_qcow2(*options, data);
  const std::uint64_t whole = base::round_up(options->size, format::limits::sector).value_or(options->size);
  return engine::Measure{.required = request.image.empty() ? whole : data, .fully_allocated = whole};
}

}  // namespace

Exit measure(std::span<char* const> words, Console& console) {
  Request request;
  Arguments arguments("measure", "Tells how much space a new image would take, as qemu-img measure does.",
                      "  cowvet measure -O qcow2 --size 100G\n"
                      "  cowvet measure -O qcow2 -o cluster_size=2M disk.raw   # when that is converted");
  arguments.word("-O", request.format, {"qcow2", "raw"}, "The new image's format; raw when not given");
  arguments.texts("-o", request.words, "KEY=VALUE,...", "Options of the new image, as for create");
  request.opening.add_force_share(arguments);
  request.opening.add_to(arguments);
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
  console.print(request.output == "json"
                    ? fmt::format("{{\n    \"required\": {},\n    \"fully-allocated\": {}\n}}\n",
                                  measured->required, measured->fully_allocated)
                    : fmt::format("required size: {}\nfully allocated size: {}\n", measured->required,
                                  measured->fully_allocated));
  return Exit::success;
}

}  // namespace cowvet::cli
