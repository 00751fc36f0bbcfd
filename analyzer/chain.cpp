#include "analyzer/chain.hpp"

#include <algorithm>

#include <fmt/format.h>

#include "analyzer/backing_place.hpp"
#include "base/text.hpp"

namespace cowvet::analyzer {

namespace {

struct Below {
  std::string file;
  Format format = Format::probe;
};

base::Result<std::optional<Below>> below(const Layer& layer) {
  if (!layer.info.backing_name) return std::nullopt;
  auto place = backing_place(layer.file, *layer.info.backing_name);
  if (place.kind != BackingPlace::Kind::file)
    return base::fail(base::ErrorKind::usage,
                      fmt::format("its backing file '{}' is not a local file: cowvet reads local files only",
                                  base::escape(place.path)));
  Below next{.file = std::move(place.path)};
  const auto& name = layer.info.backing_format;
  if (!name || name->empty()) return next;
  if (*name == "qcow2") {
    next.format = Format::qcow2;
  } else if (*name == "raw" || *name == "file" || *name == "host_device") {
    next.format = Format::raw;
  } else {
    return base::fail(
        base::ErrorKind::usage,
        fmt::format("its backing file has the format '{}': cowvet reads qcow2 and raw", base::escape(*name)));
  }
  return next;
}

// The same file again, under whatever name.
bool came_by(const std::vector<Layer>& layers, const storage::Device& device) {
  const auto identity = device.identity();
  return identity && std::ranges::any_of(
                         layers, [&](const Layer& layer) { return layer.device->identity() == identity; });
}

base::Result<Layer> open_layer(const std::string& file, Format format, const Open& open) {
  auto device = open(file);
  if (!device) return std::unexpected(device.error());
  auto info = read_info(**device, format);
  if (!info) return std::unexpected(info.error());
  return Layer{file, std::move(*device), std::move(*info)};
}

}  // namespace

base::Result<std::vector<Layer>> open_chain(const std::string& file, Format top, bool whole,
                                            const Open& open) {
  std::vector<Layer> layers;
  auto layer = open_layer(file, top, open);
  if (!layer) return std::unexpected(layer.error());
  layers.push_back(std::move(*layer));
  while (whole) {
    const auto about = [&](const std::string& name, base::Error error) {
      error.message = fmt::format("backing file '{}': {}", base::escape(name), error.message);
      return std::unexpected(std::move(error));
    };
    auto next = below(layers.back());
    if (!next && layers.size() > 1) return about(layers.back().file, next.error());
    if (!next) return std::unexpected(next.error());
    if (!*next) break;
    const auto& [name, format] = **next;
    layer = open_layer(name, format, open);
    if (!layer) return about(name, layer.error());
    if (came_by(layers, *layer->device))
      return about(name, {base::ErrorKind::usage, "is in the chain already: the chain never ends", 0});
    layers.push_back(std::move(*layer));
  }
  return layers;
}

void open_data_files(std::vector<Layer>& layers, const Open& open) {
  for (auto& layer : layers) {
    if (!layer.info.qcow2() || !layer.info.header->external_data_file() || !layer.info.data_file_name)
      continue;
    if (auto device = open(*layer.info.data_file_name)) layer.data_file = std::move(*device);
  }
}

}  // namespace cowvet::analyzer
