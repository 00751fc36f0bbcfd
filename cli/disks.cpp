#include "cli/disks.hpp"

#include <algorithm>
#include <array>
#include <optional>
#include <string_view>
#include <utility>

#include <fmt/format.h>

#include "base/text.hpp"
#include "cli/image_options.hpp"
#include "cli/program.hpp"
#include "storage/file.hpp"
#include "storage/locks.hpp"

namespace cowvet::cli {

void DiskWords::add_to(Arguments& arguments) {
  arguments.texts("--object", objects, "SECRET", "A password: secret,id=ID,file=FILE");
  arguments.flag("--image-opts", image_options,
                 "Images are lists of options: driver=qcow2,file.filename=disk.qcow2");
  arguments.word("--io", io, {"auto", "posix", "uring"},
                 "How files are read; posix: plain system calls only");
}

void DiskWords::add_force_share(Arguments& arguments) {
  arguments.flag("-U,--force-share", force_share,
                 "Read the image even while another program may write to it");
}

void DiskWords::add_cache(Arguments& arguments) {
  arguments.text("-t", cache, "MODE", "Cache mode, taken as qemu-img takes it; data is flushed at the end");
}

void DiskWords::add_source_cache(Arguments& arguments) {
  arguments.text("-T", source_cache, "MODE", "Cache mode of what is read, taken as qemu-img takes it");
}

base::Result<Secrets> DiskWords::secrets() const {
  Secrets secrets;
  for (const auto& object : objects)
    if (auto added = secrets.add(object); !added) return std::unexpected(std::move(added.error()));
  return secrets;
}

base::Result<void> check_cache_mode(const std::string& word) {
  constexpr std::array<std::string_view, 6> known{"",           "none",  "writeback", "writethrough",
                                                  "directsync", "unsafe"};
  if (std::ranges::find(known, word) != known.end()) return {};
  return base::fail(
      base::ErrorKind::usage,
      fmt::format("'{}' is no cache mode: there are none, writeback, writethrough, directsync and "
                  "unsafe",
                  base::escape(word)));
}

engine::ImageFormat image_format(const std::string& name) {
  using engine::ImageFormat;
  return name == "qcow2" ? ImageFormat::qcow2 : name == "raw" ? ImageFormat::raw : ImageFormat::probe;
}

namespace {

// What the engine calls the snapshot that `words` mean: an id or a name.
base::Result<std::string> meant_snapshot(std::string_view words,
                                         const std::vector<engine::SnapshotInfo>& snapshots) {
  using base::ErrorKind;
  if (!words.starts_with("snapshot.")) return std::string(words);
  std::optional<std::string> id, name;
  for (const auto& [key, value] : split_options(words)) {
    if (key == "snapshot.id")
      id = value;
    else if (key == "snapshot.name")
      name = value;
    else
      return base::fail(
          ErrorKind::usage,
          fmt::format("-l: '{}' is not known: use snapshot.id and snapshot.name", base::escape(key)));
  }
  const auto found = std::ranges::find_if(
      snapshots, [&](const auto& s) { return (!id || s.id == *id) && (!name || s.name == *name); });
  if (found == snapshots.end())
    return base::fail(ErrorKind::usage, fmt::format("there is no snapshot '{}'", base::escape(words)));
  return found->id;
}

}  // namespace

base::Result<std::optional<std::string>> password_of(const std::string& image, const DiskWords& words) {
  const auto secrets = words.secrets();
  if (!secrets) return std::unexpected(secrets.error());
  if (!words.image_options) return secrets->only();
  const auto list = parse_image_options(image);
  if (!list) return std::unexpected(list.error());
  if (list->secret.empty()) return secrets->only();
  auto password = secrets->find(list->secret);
  if (!password) return std::unexpected(std::move(password.error()));
  return std::optional(std::move(*password));
}

engine::OpenFile file_opener(const DiskWords& words) {
  const auto io = words.io == "posix"   ? storage::Io::posix
                  : words.io == "uring" ? storage::Io::uring
                                        : storage::Io::automatic;
  return [io, shared = words.force_share](const std::string& file,
                                          bool writable) -> base::Result<std::unique_ptr<storage::Device>> {
    if (!writable && !shared) {
      const auto locks = storage::image_in_use(file);
      if (locks && locks->in_use_for_writing())
        return std::unexpected(file_error(
            file, false,
            {.kind = base::ErrorKind::in_use,
             .message = "another program may write to it: end that first (-U reads it all the same)"}));
    }
    auto device = storage::open_file(file, {.writable = writable, .io = io, .lock = !shared});
    if (!device) return std::unexpected(file_error(file, writable, std::move(device.error())));
    return device;
  };
}

base::Result<void> settle(std::string& image, const DiskWords& words, engine::ChainOptions& options) {
  auto password = password_of(image, words);
  if (!password) return std::unexpected(std::move(password.error()));
  const bool named = words.image_options && !parse_image_options(image)->secret.empty();
  if (named || !options.secret) options.secret = std::move(*password);
  if (words.image_options) {
    auto list = parse_image_options(image);
    image = std::move(list->file);
    if (!list->format.empty()) options.format = image_format(list->format);
  }
  return {};
}

base::Result<std::unique_ptr<engine::OpenImage>> open_disk(std::string image, const DiskWords& words,
                                                           engine::ChainOptions options) {
  if (auto settled = settle(image, words, options); !settled) return std::unexpected(settled.error());
  auto opened = engine::open_image(image, options, file_opener(words));
  if (!opened) opened.error().opening = true;
  return opened;
}

base::Result<std::unique_ptr<engine::OpenImage>> open_snapshot(const std::string& image,
                                                               const DiskWords& words,
                                                               engine::ChainOptions options,
                                                               const std::string& snapshot) {
  auto opened = open_disk(image, words, options);
  if (!opened || snapshot.empty()) return opened;
  options.snapshot = snapshot;
  if (auto* const qcow2 = (*opened)->qcow2()) {
    auto meant = meant_snapshot(snapshot, qcow2->snapshots());
    if (!meant) return std::unexpected(std::move(meant.error()));
    options.snapshot = std::move(*meant);
  }
  return open_disk(image, words, options);
}

}  // namespace cowvet::cli
