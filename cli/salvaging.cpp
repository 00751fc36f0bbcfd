#include "cli/salvaging.hpp"

#include <algorithm>
#include <filesystem>
#include <memory>
#include <vector>

#include <fmt/format.h>

#include "analyzer/info.hpp"
#include "base/text.hpp"
#include "cli/interrupt.hpp"
#include "cli/meter.hpp"
#include "cli/new_image.hpp"
#include "cli/output_image.hpp"
#include "cli/shared.hpp"
#include "engine/chain.hpp"
#include "engine/create.hpp"
#include "repair/salvage.hpp"
#include "repair/understood.hpp"
#include "storage/naming.hpp"
#include "storage/path_state.hpp"
#include "storage/retries.hpp"

namespace cowvet::cli {

namespace {

using base::ErrorKind;

class Salvage {
 public:
  explicit Salvage(const SalvageRequest& request)
      : r_(request), stop_(progress_), secrets_(request.disk.secrets()), opener_(file_opener(request.disk)) {}

  base::Result<reports::SalvageReport> run() {
    if (auto opened = understand(); !opened) return about_file(r_.image, std::move(opened.error()));
    if (auto ready = prepare(); !ready) return about_file(r_.image, std::move(ready.error()));
    const Meter meter(progress_, base::escape(r_.image), Meter::style(r_.progress, r_.quiet));
    if (auto done = copy(); !done) return std::unexpected(done.error());
    finish();
    return std::move(report_);
  }

 private:
  [[nodiscard]] bool qcow2() const { return r_.format == "qcow2"; }
  [[nodiscard]] bool flattens() const {
    return best().has_backing() && (qcow2() ? r_.flatten : !r_.layer_only);
  }
  [[nodiscard]] bool keeps_backing() const { return best().has_backing() && qcow2() && !r_.flatten; }
  [[nodiscard]] const repair::View& best() const { return understood_->best(); }

  base::Result<void> understand() {
    if (!secrets_) return std::unexpected(secrets_.error());
    auto device = opener_(r_.image, false);
    if (!device) return std::unexpected(device.error());
    device_ = std::move(*device);
    image_ = std::make_unique<storage::Retries>(
        *device_, static_cast<unsigned>(std::min<std::uint64_t>(r_.retries, 1000)));
    if (auto found = open_data_file(); !found) return found;
    auto understood = repair::Understood::open(
        *image_, {.path = r_.image, .data_file = data_.get(), .assume_qcow2 = r_.assume_qcow2}, progress_);
    if (!understood) return std::unexpected(understood.error());
    understood_ = std::move(*understood);
    return {};
  }

  // As the image names it; one that is not there costs the data, not the salvage.
  base::Result<void> open_data_file() {
    const auto info = analyzer::read_info(*image_, analyzer::Format::qcow2);
    if (!info || !info->header->external_data_file()) return {};
    if (!info->data_file_name)
      return base::fail(ErrorKind::usage, "its data is in another file, and the image does not say in which");
    const auto path = storage::backing_path(r_.image, *info->data_file_name);
    auto device = opener_(path, false);
    if (!device)
      return base::fail(device.error().kind,
                        fmt::format("its data file '{}': {}", base::escape(path), device.error().message));
    data_device_ = std::move(*device);
    data_ = std::make_unique<storage::Retries>(
        *data_device_, static_cast<unsigned>(std::min<std::uint64_t>(r_.retries, 1000)));
    return {};
  }

  base::Result<void> prepare() {
    options_.compress = r_.compress;
    options_.target_backed = keeps_backing();
    if (understood_->encrypted()) {
      const auto secret = secrets_->only();
      if (!secret)
        return base::fail(
            ErrorKind::usage,
            "is encrypted, and encrypted sectors mean nothing at another place: give its password "
            "(--object secret,id=ID,file=FILE)");
      auto cipher = understood_->cipher(*secret);
      if (!cipher) return std::unexpected(cipher.error());
      options_.cipher = std::move(*cipher);
      if (!qcow2() && !r_.decrypt)
        return base::fail(ErrorKind::usage,
                          "is encrypted, and raw images can't be: add --decrypt, or use -O qcow2");
    }
    if (!best().has_backing()) return {};
    if (!understood_->backing_name())
      return base::fail(ErrorKind::usage,
                        "its backing file's name can't be read: there is only what the layer itself has");
    backing_ = storage::backing_path(r_.image, *understood_->backing_name());
    auto backing = engine::open_image(
        backing_,
        {.format = image_format(understood_->backing_format().value_or("")), .secret = secrets_->only()},
        opener_);
    if (!backing && flattens())
      return base::fail(ErrorKind::usage,
                        fmt::format("its backing file '{}' can't be opened: {}: {}", base::escape(backing_),
                                    backing.error().message,
                                    qcow2() ? "leave --flatten out for what the layer itself has"
                                            : "add --layer-only for what the layer itself has"));
    if (backing) {
      below_ = std::move(*backing);
      report_.backing = backing_;
    } else {
      report_.notes.push_back(
          fmt::format("its backing file '{}' can't be opened ({}): the copy names it all the same",
                      base::escape(backing_), backing.error().message));
    }
    if (flattens()) options_.below = &below_->disk();
    return {};
  }

  // An empty output whose disk has the layer's size.
  base::Result<OutputImage> make(const std::string& file, std::uint64_t size) {
    const auto options = creation(file, size);
    if (!options) return std::unexpected(options.error());
    return make_output(file, r_.format, *options, progress_);
  }

  // An image like the one that is salvaged.
  base::Result<engine::CreateOptions> creation(const std::string& file, std::uint64_t size) const {
    const auto& header = best().header();
    const auto& geometry = best().geometry();
    engine::CreateOptions options{.size = size,
                                  .cluster_size = geometry.cluster_size(),
                                  .extended_l2 = geometry.extended_l2(),
                                  .compression = header.compression().value_or(format::Compression::deflate)};
    if (options_.cipher != nullptr && !r_.decrypt)
      options.encrypt =
          engine::EncryptOptions{.method = options_.cipher->method(), .secret = *secrets_->only()};
    if (!keeps_backing()) return options;
    const auto& name = *understood_->backing_name();
    options.backing_file = storage::has_protocol(name) ? name : storage::name_within(file, backing_);
    options.backing_format = understood_->backing_format();
    if (!options.backing_format && below_)
      options.backing_format = below_->format() == engine::ImageFormat::qcow2 ? "qcow2" : "raw";
    return options;
  }

  base::Result<void> copy() {
    const bool all = r_.snapshots == "internal" && qcow2() && best().layers().size() > 1;
    if (all && r_.resume)
      return about_file(r_.out, {ErrorKind::usage,
                                 "snapshots inside a copy can't be continued: salvage into a new file "
                                 "with --snapshots files, which can"});
    if (all) return copy_into_one();
    for (const auto& layer : best().layers()) {
      if (layer.entry && r_.snapshots == "none") continue;
      const auto file = layer.entry ? fmt::format("{}.{}", r_.out, file_part(layer)) : r_.out;
      if (auto done = copy_layer(layer, file); !done) return about_file(file, std::move(done.error()));
    }
    return {};
  }

  // A snapshot's part of a file's name: its id as far as that is fit for one.
  std::string file_part(const repair::Layer& layer) {
    const auto fit = [](char c) {
      return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' ||
             c == '_';
    };
    const bool plain =
        !layer.snapshot.empty() && layer.snapshot.size() <= 64 && std::ranges::all_of(layer.snapshot, fit);
    auto part = plain ? layer.snapshot : fmt::format("at-{:x}", layer.l1.raw());
    while (std::ranges::find(parts_, part) != parts_.end()) part += "-again";
    parts_.push_back(part);
    return part;
  }

  base::Result<void> copy_layer(const repair::Layer& layer, const std::string& file) {
    if (r_.resume) return continue_layer(layer, file);
    auto output = make(file, layer.size);
    if (!output) return std::unexpected(output.error());
    auto done = repair::salvage_layer(understood_->readable(), layer, output->image->disk(),
                                      output->image->qcow2(), options_, progress_);
    if (!done) return std::unexpected(done.error());
    if (layer.entry && layer.end > layer.vm_state)
      report_.notes.push_back(
          fmt::format("the machine state of snapshot {} is not in its file: --snapshots internal keeps it",
                      base::escape(layer.snapshot)));
    if (auto published = output->publish(); !published) return published;
    return add(std::move(*done), file);
  }

  base::Result<void> continue_layer(const repair::Layer& layer, const std::string& file) {
    const auto map = map_of(layer, file);
    const auto text = read_file(map);
    if (!text) return about_file(map, text.error());
    const auto earlier = repair::parse_mapfile(*text);
    if (!earlier) return about_file(map, earlier.error());
    if (earlier->end() != layer.size)
      return about_file(
          map, {ErrorKind::usage, fmt::format("is the map of a disk of {} bytes, and this one has {}: name "
                                              "the map of the copy that is gone on with",
                                              earlier->end(), layer.size)});
    engine::ChainOptions how{.format = image_format(r_.format), .writable = true, .no_backing = true};
    if (options_.cipher != nullptr && !r_.decrypt) how.secret = secrets_->only();
    auto image = engine::open_image(file, how, file_opener({}));
    if (!image) return std::unexpected(image.error());
    auto& disk = (*image)->disk();
    if (disk.size() < layer.size || disk.size() - layer.size >= format::limits::sector)
      return base::fail(ErrorKind::usage,
                        fmt::format("has a disk of {} bytes, and the image one of {}: it is no copy of it",
                                    disk.size(), layer.size));
    auto options = options_;
    options.earlier = &*earlier;
    auto done = repair::salvage_layer(understood_->readable(), layer, disk, nullptr, options, progress_);
    // What was read is kept, also when the rest was not come to: the map still calls it lost, and it is read again.
    if (auto closed = (*image)->close(); !closed && done) return closed;
    if (!done) return std::unexpected(done.error());
    return add(std::move(*done), file);
  }

  base::Result<void> copy_into_one() {
    auto output = make(r_.out, best().layers()[1].size);
    if (!output) return about_file(r_.out, std::move(output.error()));
    auto done = repair::salvage_all(understood_->readable(), *output->image->qcow2(), options_, progress_);
    if (!done) return about_file(r_.out, std::move(done.error()));
    if (auto published = output->publish(); !published)
      return about_file(r_.out, std::move(published.error()));
    for (auto& layer : *done)
      if (auto added = add(std::move(layer), r_.out); !added) return added;
    return {};
  }

  base::Result<void> add(repair::SalvagedLayer layer, const std::string& file) {
    if (!r_.map.empty()) {
      const auto map = map_of(layer.layer, file);
      const auto title =
          layer.layer.entry
              ? fmt::format("snapshot {} of {}", base::escape(layer.layer.snapshot), base::escape(r_.image))
              : base::escape(r_.image);
      // The earlier map is worth as much as the copy: it stays until the new one is there.
      const auto place = r_.resume ? map + ".new" : map;
      if (auto written = write_file(place, repair::mapfile(layer.map, title)); !written)
        return about_file(place, std::move(written.error()));
      std::error_code error;
      if (r_.resume) std::filesystem::rename(place, map, error);
      if (error)
        return about_file(map, {ErrorKind::io, "can't be replaced: " + error.message(), error.value()});
    }
    report_.layers.push_back({file, std::move(layer)});
    return {};
  }
  std::string map_of(const repair::Layer& layer, const std::string& file) {
    return layer.entry ? fmt::format("{}.{}", r_.map, file_part_of(file, layer)) : r_.map;
  }
  std::string file_part_of(const std::string& file, const repair::Layer& layer) {
    return file == r_.out ? file_part(layer) : file.substr(r_.out.size() + 1);
  }

  void finish() {
    report_.file = r_.image;
    report_.out = r_.out;
    report_.inferences = understood_->inferences();
    report_.snapshots_complete = best().snapshots_complete();
    report_.recovered = image_->recovered() + (data_ ? data_->recovered() : 0);
  }

  const SalvageRequest& r_;
  base::Progress progress_;
  const StopOnSignal stop_;
  base::Result<Secrets> secrets_;
  const engine::OpenFile opener_;
  std::unique_ptr<storage::Device> device_, data_device_;
  std::unique_ptr<storage::Retries> image_, data_;
  std::unique_ptr<repair::Understood> understood_;
  std::unique_ptr<engine::OpenImage> below_;
  std::string backing_;  // the backing file, as it is opened
  repair::SalvageOptions options_;
  std::vector<std::string> parts_;
  reports::SalvageReport report_;
};

}  // namespace

base::Result<reports::SalvageReport> salvage_image(const SalvageRequest& request) {
  for (const auto& file : {request.out, request.map})
    if (storage::look_at(file).kind != storage::PathState::Kind::missing && same_file(request.image, file))
      return about_file(file, {ErrorKind::usage, "is the image: give the output another name"});
  return Salvage(request).run();
}

}  // namespace cowvet::cli
