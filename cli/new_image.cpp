#include "cli/new_image.hpp"

#include <algorithm>
#include <array>
#include <filesystem>

#include <fmt/format.h>

#include "base/checked.hpp"
#include "base/text.hpp"
#include "cli/program.hpp"
#include "engine/chain.hpp"
#include "engine/raw_disk.hpp"
#include "storage/naming.hpp"
#include "storage/path_state.hpp"

namespace cowvet::cli {

namespace {

using base::ErrorKind;

base::Result<void> create_raw(storage::Device& device, const engine::CreateOptions& options,
                              base::Progress& progress) {
  const auto size = base::round_up(options.size, format::limits::sector);
  if (!size || *size > format::limits::max_virtual_size)
    return base::fail(ErrorKind::usage, "the size is too large for any file");
  if (device.is_block_device()) {
    if (device.size() < *size)
      return base::fail(ErrorKind::limit, "the block device is too small for such a disk");
    // What another image left there must not be taken for the new one's header.
    constexpr std::array<std::byte, format::limits::sector> zeros{};
    return device.write(0, base::ConstBytes(zeros).first(std::min<std::size_t>(zeros.size(), *size)));
  }
  return engine::resize_raw(device, *size, options.preallocation, progress);
}

}  // namespace

base::Result<void> consider_backing(const NewImage& image, CreationWords& words) {
  const auto backing = words.get("backing_file");
  if (!backing) return {};
  const auto format = words.get("backing_fmt");
  if (!format || format->empty())
    return base::fail(ErrorKind::usage,
                      worded("the backing file's format must be said: add -F qcow2 or -F raw",
                             "Backing file specified without backing format"));
  const auto path = storage::backing_path(image.file, *backing);
  if (path == image.file)
    return base::fail(ErrorKind::usage, "an image can't be its own backing file: give it another name");
  if (image.unsafe_backing) return {};
  const auto about_backing = [&](std::string message) {
    return base::fail(ErrorKind::usage,
                      fmt::format("backing file '{}': {}{}", base::escape(path), message, image.unsafe_hint));
  };
  if (*format != "qcow2" && *format != "raw")
    return about_backing("cowvet opens qcow2 and raw, not " + base::escape(*format));
  const auto opened =
      engine::open_image(path,
                         {.format = *format == "raw" ? engine::ImageFormat::raw : engine::ImageFormat::qcow2,
                          .no_backing = true},
                         [](const std::string& file, bool) { return storage::open_file(file); });
  if (!opened) return about_backing(opened.error().message);
  if (!words.get("size")) words.set("size", std::to_string((*opened)->disk().size()));
  return {};
}

NewFiles::~NewFiles() {
  std::error_code ignored;
  for (const auto& [file, is_new] : made_) {
    if (is_new)
      std::filesystem::remove(file, ignored);
    else
      std::filesystem::resize_file(file, 0, ignored);
  }
}

base::Result<std::unique_ptr<storage::Device>> NewFiles::make(const std::string& file,
                                                              const storage::FileOptions& options) {
  using Kind = storage::PathState::Kind;
  const auto before = storage::look_at(file).kind;
  auto device = storage::create_file(file, options);
  if (device && (before == Kind::missing || before == Kind::file))
    made_.push_back({file, before == Kind::missing});
  return device;
}

bool same_file(const std::string& one, const std::string& other) {
  const auto a = storage::look_at(one);
  const auto b = storage::look_at(other);
  return a.kind != storage::PathState::Kind::missing && a.device == b.device && a.inode == b.inode;
}

base::Result<NewDevices> make_image(NewFiles& files, const NewImage& image,
                                    const engine::CreateOptions& options, base::Progress& progress) {
  NewDevices devices;
  auto device = files.make(image.file, image.opening);
  if (!device) return std::unexpected(device.error());
  devices.image = std::move(*device);
  if (options.data_file) {
    if (same_file(image.file, *options.data_file))
      return base::fail(ErrorKind::usage, "an image can't be its own data file: give that another name");
    auto data = files.make(*options.data_file, image.opening);
    if (!data)
      return base::fail(data.error().kind, fmt::format("data file '{}': {}", base::escape(*options.data_file),
                                                       data.error().message));
    devices.data = std::move(*data);
  }
  auto done = image.format == "raw"
                  ? create_raw(*devices.image, options, progress)
                  : engine::create_qcow2(*devices.image, devices.data.get(), options, progress);
  if (!done) return std::unexpected(std::move(done.error()));
  return devices;
}

}  // namespace cowvet::cli
