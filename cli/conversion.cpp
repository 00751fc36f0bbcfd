#include "cli/conversion.hpp"

#include <algorithm>

#include <fmt/format.h>

#include "base/text.hpp"
#include "cli/interrupt.hpp"
#include "cli/meter.hpp"
#include "cli/shared.hpp"
#include "storage/naming.hpp"
#include "storage/path_state.hpp"

namespace cowvet::cli {

namespace {

using base::ErrorKind;

// The file of `layer`, or its data file, that `is_it` knows. Nothing: neither.
template <class Known>
bool has_file(engine::OpenImage& layer, const Known& is_it) {
  for (const storage::Device* device :
       {static_cast<const storage::Device*>(&layer.device()), layer.data_file()})
    if (const auto identity = device != nullptr ? device->identity() : std::nullopt;
        identity && is_it(*identity))
      return true;
  return false;
}

// Writing into what is read would destroy both. `output` is told, `is_it` knows its identity.
template <class Known>
base::Result<void> keep_apart(const Conversion& c, const std::string& output, const Known& is_it) {
  for (const auto& source : c.sources)
    for (auto* layer = source.get(); layer != nullptr; layer = layer->backing())
      if (has_file(*layer, is_it))
        return about_file(output, {ErrorKind::usage,
                                   fmt::format("is read as well ({}): give the output another name",
                                               base::escape(layer->file())),
                                   0});
  return {};
}

base::Result<void> keep_apart(const Conversion& c, const std::string& output) {
  const auto state = storage::look_at(output);
  if (state.kind == storage::PathState::Kind::missing) return {};
  const auto backing = c.words.get("backing_file");
  if (c.create && backing && same_file(output, storage::backing_path(c.target.file, *backing)))
    return about_file(output,
                      {ErrorKind::usage, "is to be the backing file: give the output another name", 0});
  return keep_apart(c, output, [&](const storage::Identity& identity) {
    return identity.device == state.device && identity.inode == state.inode;
  });
}

// The target of a conversion, open for writing.
struct Target {
  NewFiles files;
  std::unique_ptr<engine::OpenImage> image;
  bool reads_zero = false;
};

base::Result<void> check_compression(const engine::CreateOptions& options) {
  if (options.preallocation != engine::Preallocation::off)
    return base::fail(ErrorKind::usage,
                      "compressed clusters take no preallocated space: leave one of them out");
  if (options.encrypt)
    return base::fail(ErrorKind::usage, "compressed clusters are not encrypted: leave one of them out");
  if (options.data_file)
    return base::fail(ErrorKind::usage, "an image with an external data file can't hold compressed clusters");
  return {};
}

base::Result<void> make_target(Conversion& c, Target& target, base::Progress& progress) {
  c.words.set("size", std::to_string(c.content.size()));
  if (auto fine = consider_backing(c.target, c.words); !fine) return fine;
  const auto options = c.words.options(c.secrets);
  if (!options) return std::unexpected(options.error());
  const bool qcow2 = c.target.format == "qcow2";
  if (qcow2)
    if (auto fine = engine::check_options(*options); !fine) return std::unexpected(fine.error());
  if (c.compressed)
    if (auto fine = check_compression(*options); !fine) return fine;
  if (c.bitmaps && options->version < 3)
    return base::fail(ErrorKind::usage, "a version 2 image can't hold bitmaps: leave compat=0.10 out");
  if (options->data_file)
    if (auto fine = keep_apart(c, *options->data_file); !fine) return fine;
  c.target.opening.durable = c.durable;
  auto devices = make_image(target.files, c.target, *options, progress);
  if (!devices) return std::unexpected(devices.error());
  target.reads_zero = !options->backing_file && (qcow2 || !devices->image->is_block_device());

  engine::ChainOptions chain{.format = image_format(c.target.format), .writable = true};
  if (options->encrypt) chain.secret = options->encrypt->secret;
  if (!chain.secret) chain.secret = c.secrets.only();  // of the backing file
  auto image = engine::open_image(
      c.target.file, chain,
      [&](const std::string& file, bool writable) -> base::Result<std::unique_ptr<storage::Device>> {
        if (!writable) return storage::open_file(file);
        return std::move(devices->image ? devices->image : devices->data);  // asked for in this order
      });
  if (!image) return std::unexpected(image.error());
  target.image = std::move(*image);
  return {};
}

base::Result<void> open_target(const Conversion& c, Target& target) {
  auto image =
      open_disk(c.target.file, c.target_words, {.format = image_format(c.target.format), .writable = true});
  if (!image) return std::unexpected(image.error());
  target.image = std::move(*image);
  target.reads_zero = c.reads_zero;
  if (const auto* const data = target.image->data_file())
    if (const auto own = data->identity())
      if (auto fine = keep_apart(c, "its data file",
                                 [&](const storage::Identity& identity) {
                                   return identity.device == own->device && identity.inode == own->inode;
                                 });
          !fine)
        return fine;
  if (const auto* const qcow2 = target.image->qcow2();
      qcow2 != nullptr && qcow2->header().v2.crypt_method != 0) {
    // Zeros need no key: without this they would be written before the first piece of data is refused.
    const auto password = password_of(c.target.file, c.target_words);
    if (!password) return std::unexpected(password.error());
    if (!*password)
      return base::fail(ErrorKind::usage,
                        "is encrypted: give its password (--object secret,id=ID,file=FILE; with several of "
                        "them, name it in --target-image-opts)");
  }
  if (target.image->disk().size() < c.content.size())
    return base::fail(
        ErrorKind::usage,
        fmt::format("is smaller than what is to be copied ({} bytes): resize it first", c.content.size()));
  if (c.reads_zero && target.image->backing() != nullptr)
    return base::fail(ErrorKind::usage, "has a backing file, and so is not zero: leave --target-is-zero out");
  if (c.compressed && target.image->qcow2() == nullptr)
    return base::fail(ErrorKind::usage, "a raw image can't hold compressed clusters: leave -c out");
  if (c.bitmaps && (target.image->qcow2() == nullptr || !target.image->qcow2()->header().has_v3()))
    return base::fail(ErrorKind::usage, "can't hold bitmaps: only qcow2 images of version 3 can");
  return {};
}

// The names of the bitmaps that can be copied.
base::Result<std::vector<engine::BitmapInfo>> copyable_bitmaps(const Conversion& c, Console& console) {
  std::vector<engine::BitmapInfo> list;
  if (!c.bitmaps) return list;
  auto& source = *c.sources.front();
  if (source.qcow2_image() == nullptr || !source.qcow2_image()->header().has_v3())
    return about_file(source.file(), {ErrorKind::usage, "can't hold bitmaps: leave --bitmaps out", 0});
  for (auto& bitmap : source.qcow2_image()->bitmaps()) {
    if (!bitmap.in_use) {
      list.push_back(std::move(bitmap));
      continue;
    }
    const auto name = base::escape(bitmap.name);
    if (!c.skip_broken_bitmaps)
      return about_file(source.file(),
                        {ErrorKind::usage,
                         fmt::format("bitmap '{}' was not closed properly and can't be copied: add "
                                     "--skip-broken-bitmaps, or remove it (bitmap --remove)",
                                     name),
                         0});
    if (!c.quiet)
      console.complain(fmt::format("warning: bitmap '{}' was not closed properly, and is left out", name));
  }
  return list;
}

base::Result<void> copy_bitmaps(const std::vector<engine::BitmapInfo>& list, engine::Qcow2Disk& from,
                                engine::Qcow2Disk& into) {
  for (const auto& bitmap : list) {
    auto done = into.add_bitmap(bitmap.name, bitmap.granularity, false);
    if (done) done = into.merge_bitmap(bitmap.name, from, bitmap.name);
    if (done && bitmap.enabled) done = into.enable_bitmap(bitmap.name, true);
    if (!done) return done;
  }
  return {};
}

base::Result<void> copy_content(Conversion& c, Target& target, std::vector<std::string>& warnings,
                                base::Progress& progress) {
  auto& image = *target.image;
  engine::CopyTarget into{.disk = image.disk(), .name = image.file(), .reads_zero = target.reads_zero};
  if (c.compressed) into.compressed = image.qcow2();
  if (c.keeps_backing && image.backing() != nullptr) {
    c.content.set_reference(*image.backing());
    into.below = &image.backing()->disk();
  }
  auto options = c.options;
  if (c.salvage)
    options.lost = [&](std::uint64_t at, std::uint64_t length, const std::string& why) {
      warnings.push_back(fmt::format("warning: error while reading offset {}: {}: {} bytes are zeros instead",
                                     at, why, length));
    };
  return engine::copy_disk(c.content, into, options, progress);
}

}  // namespace

base::Result<void> convert_images(Conversion& c, Console& console) {
  const auto bitmaps = copyable_bitmaps(c, console);
  if (!bitmaps) return std::unexpected(bitmaps.error());
  if (auto fine = keep_apart(c, c.target.file); !fine) return fine;
  if (auto free = refuse_with_overlays(c.target.file, c.target_words.image_options, c.guard); !free)
    return about_file(c.target.file, std::move(free.error()));

  base::Progress progress;
  const StopOnSignal stop(progress);
  std::vector<std::string> warnings;
  Target target;
  const auto ready = c.create ? make_target(c, target, progress) : open_target(c, target);
  if (!ready) return about_file(c.target.file, ready.error());
  {
    const Meter meter(progress, base::escape(c.target.file), Meter::style(c.progress, c.quiet));
    if (auto copied = copy_content(c, target, warnings, progress); !copied) return copied;
  }
  if (!c.quiet)
    for (const auto& warning : warnings) console.complain(warning);
  base::Result<void> done;
  if (!bitmaps->empty())
    done = copy_bitmaps(*bitmaps, *c.sources.front()->qcow2_image(), *target.image->qcow2());
  if (done) done = target.image->close();
  if (!done) return about_file(c.target.file, done.error());
  target.files.keep();
  return {};
}

}  // namespace cowvet::cli
