#include "engine/chain.hpp"

#include <algorithm>
#include <array>

#include <fmt/format.h>

#include "base/text.hpp"
#include "engine/cipher.hpp"
#include "engine/header_area.hpp"
#include "engine/key_slots.hpp"
#include "engine/raw_disk.hpp"
#include "storage/naming.hpp"

namespace cowvet::engine {

namespace {

using base::ErrorKind;

class Layer final : public OpenImage {
 public:
  [[nodiscard]] Disk& disk() override { return view_ ? *view_ : *disk_; }
  [[nodiscard]] Qcow2Disk* qcow2() override { return view_ ? nullptr : qcow2_; }
  [[nodiscard]] Qcow2Disk* qcow2_image() override { return qcow2_; }
  [[nodiscard]] const std::string& file() const override { return file_; }
  [[nodiscard]] ImageFormat format() const override { return format_; }
  [[nodiscard]] OpenImage* backing() override { return backing_.get(); }
  [[nodiscard]] storage::Device& device() override { return *device_; }
  [[nodiscard]] const storage::Device* data_file() const override { return data_file_.get(); }
  [[nodiscard]] base::Result<void> close() override {
    return qcow2_ != nullptr ? qcow2_->close() : disk_->flush();
  }

 private:
  friend class Opener;
  std::string file_;
  ImageFormat format_ = ImageFormat::raw;
  std::shared_ptr<Layer> backing_;
  std::unique_ptr<storage::Device> device_, data_file_;
  std::unique_ptr<Disk> disk_;
  Qcow2Disk* qcow2_ = nullptr;  // disk_, when it is one
  std::unique_ptr<Disk> view_;  // a snapshot of disk_
};

struct Below {
  std::string file;
  ImageFormat format = ImageFormat::probe;
};

std::unexpected<base::Error> about(std::string_view what, const std::string& file, base::Error error) {
  error.message = fmt::format("{} '{}': {}", what, base::escape(file), error.message);
  return std::unexpected(std::move(error));
}

// The path that a name stands for: "file:disk" is one, other protocols are not.
base::Result<std::string> local(std::string name) {
  if (!storage::has_protocol(name)) return name;
  if (name.starts_with("file:")) return name.substr(5);
  return base::fail(
      ErrorKind::usage,
      "is not the name of a local file, and cowvet opens local files only: copy it here, and name the "
      "copy (cowvet rebase -u)");
}

base::Result<ImageFormat> format_named(std::string_view name) {
  if (name.empty()) return ImageFormat::probe;
  if (name == "qcow2") return ImageFormat::qcow2;
  if (name == "raw" || name == "file" || name == "host_device") return ImageFormat::raw;
  return base::fail(ErrorKind::usage,
                    fmt::format("has the format '{}': cowvet opens qcow2 and raw", base::escape(name)));
}

// Whether it begins as a qcow2 image does; everything else is raw.
ImageFormat probe(const storage::Device& device) {
  std::array<std::byte, 8> start{};
  if (device.read(0, start).valid < start.size()) return ImageFormat::raw;
  const std::span<const std::byte, 8> bytes(start);
  const bool qcow2 = base::load_be<std::uint32_t, 0>(bytes) == format::qcow_magic &&
                     base::load_be<std::uint32_t, 4>(bytes) >= 2;
  return qcow2 ? ImageFormat::qcow2 : ImageFormat::raw;
}

class Opener {
 public:
  Opener(const ChainOptions& options, const OpenFile& open) : options_(options), open_(open) {}

  base::Result<std::shared_ptr<Layer>> layer(const std::string& file, ImageFormat format, bool top);
  base::Result<std::unique_ptr<OpenImage>> image(const std::string& file);

 private:
  base::Result<void> remember(const storage::Device& device);
  base::Result<void> open_qcow2(Layer& layer, bool top);
  [[nodiscard]] base::Result<std::optional<Below>> below(const Layer& layer, const HeaderArea& header,
                                                         bool top) const;
  base::Result<std::unique_ptr<storage::Device>> data_file(const HeaderArea& header, bool writable) const;
  base::Result<std::shared_ptr<const Cipher>> cipher(const storage::Device& device,
                                                     const HeaderArea& header) const;

  const ChainOptions& options_;
  const OpenFile& open_;
  std::vector<storage::Identity> seen_;
  std::size_t depth_ = 0;
};

// The same file again, under whatever name, would never end.
base::Result<void> Opener::remember(const storage::Device& device) {
  if (++depth_ > deepest_chain)
    return base::fail(
        ErrorKind::limit,
        fmt::format("the chain has more than {} files: merge some (cowvet commit)", deepest_chain));
  const auto identity = device.identity();
  if (!identity) return {};
  const bool known = std::ranges::any_of(seen_, [&](const storage::Identity& other) {
    return other.device == identity->device && other.inode == identity->inode;
  });
  if (known)
    return base::fail(ErrorKind::usage,
                      "is in the chain already, which never ends: give one of them another backing file "
                      "(cowvet rebase -u)");
  seen_.push_back(*identity);
  return {};
}

base::Result<std::shared_ptr<Layer>> Opener::layer(const std::string& file, ImageFormat format, bool top) {
  auto layer = std::make_shared<Layer>();
  layer->file_ = file;
  const bool writable = top && options_.writable;
  auto device = open_(file, writable);
  if (!device) return std::unexpected(device.error());
  layer->device_ = std::move(*device);
  if (auto fresh = remember(*layer->device_); !fresh) return std::unexpected(fresh.error());
  layer->format_ = format == ImageFormat::probe ? probe(*layer->device_) : format;
  if (layer->format_ == ImageFormat::raw) {
    layer->disk_ = open_raw(*layer->device_, writable);
  } else if (auto opened = open_qcow2(*layer, top); !opened) {
    return std::unexpected(opened.error());
  }
  return layer;
}

base::Result<void> Opener::open_qcow2(Layer& layer, bool top) {
  Medium medium(*layer.device_);
  const auto header = HeaderArea::open(medium);
  if (!header) return std::unexpected(header.error());
  OpenOptions options{.writable = top && options_.writable, .cache_bytes = options_.cache_bytes};

  auto key = cipher(*layer.device_, *header);
  if (!key) return std::unexpected(key.error());
  options.cipher = std::move(*key);
  if (header->header().external_data_file()) {
    auto data = data_file(*header, options.writable);
    if (!data) return std::unexpected(data.error());
    layer.data_file_ = std::move(*data);
    options.data_file = layer.data_file_.get();
  }
  const auto next = below(layer, *header, top);
  if (!next) return std::unexpected(next.error());
  if (*next) {
    auto backing = this->layer((*next)->file, (*next)->format, false);
    if (!backing) return about("backing file", (*next)->file, backing.error());
    layer.backing_ = std::move(*backing);
    options.backing = std::shared_ptr<const Disk>(layer.backing_, &layer.backing_->disk());
  }
  auto disk = Qcow2Disk::open(*layer.device_, options);
  if (!disk) return std::unexpected(disk.error());
  layer.qcow2_ = disk->get();
  layer.disk_ = std::move(*disk);
  return {};
}

base::Result<std::optional<Below>> Opener::below(const Layer& layer, const HeaderArea& header,
                                                 bool top) const {
  if (top && options_.no_backing) return std::nullopt;
  std::string name;
  auto format = format_named(header.text(format::ExtensionType::backing_format).value_or(""));
  if (top && options_.backing) {
    name = *options_.backing;
    format = options_.backing_format.value_or(ImageFormat::probe);
  } else if (const auto& stored = header.backing_name()) {
    name = storage::backing_path(layer.file_, *stored);
  }
  if (name.empty()) return std::nullopt;
  if (!format) return about("backing file", name, format.error());
  if (top && options_.backing_format) format = *options_.backing_format;
  auto path = local(name);
  if (!path) return about("backing file", name, path.error());
  return Below{std::move(*path), *format};
}

// As QEMU opens it: a relative name starts in the folder that the program runs in.
base::Result<std::unique_ptr<storage::Device>> Opener::data_file(const HeaderArea& header,
                                                                 bool writable) const {
  const auto name = header.text(format::ExtensionType::data_file);
  if (!name || name->empty())
    return base::fail(ErrorKind::usage, "the header does not name the external data file: see cowvet check");
  const auto path = local(*name);
  if (!path) return about("data file", *name, path.error());
  auto device = open_(*path, writable);
  if (!device) return about("data file", *path, device.error());
  return device;
}

// Nothing without a password: what is not encrypted can be used all the same.
base::Result<std::shared_ptr<const Cipher>> Opener::cipher(const storage::Device& device,
                                                           const HeaderArea& header) const {
  const auto method = static_cast<format::CryptMethod>(header.header().v2.crypt_method);
  if (method == format::CryptMethod::none || !options_.secret) return nullptr;
  if (method == format::CryptMethod::aes) return open_aes(*options_.secret);
  const auto luks = read_luks(header, device);
  if (!luks) return std::unexpected(luks.error());
  return open_luks(*luks, *options_.secret);
}

// The top of a chain: keeps the layers alive that its disk reads from.
base::Result<std::unique_ptr<OpenImage>> Opener::image(const std::string& file) {
  if (options_.snapshot && options_.writable)
    return base::fail(ErrorKind::usage,
                      "a snapshot can't be written: open it read-only, or go back to it first");
  auto top = layer(file, options_.format, true);
  if (!top) return std::unexpected(top.error());
  if (options_.snapshot) {
    if ((*top)->qcow2_ == nullptr)
      return base::fail(ErrorKind::usage, "a raw image has no snapshots: leave -l out");
    auto view = (*top)->qcow2_->snapshot_disk(*options_.snapshot);
    if (!view) return std::unexpected(view.error());
    (*top)->view_ = std::move(*view);
  }
  return std::make_unique<Layer>(std::move(**top));
}

// Whether b goes on where a ends, in the same way.
bool goes_on(const ChainExtent& a, const ChainExtent& b) {
  const auto& x = a.extent;
  const auto& y = b.extent;
  if (a.depth != b.depth || x.allocated != y.allocated || x.zero != y.zero || x.data != y.data ||
      x.compressed != y.compressed || x.host.has_value() != y.host.has_value())
    return false;
  return !x.host || x.host->raw() + x.length == y.host->raw();
}

// Data whose place in the file is a hole reads as zeros, unless it would be decrypted.
void look_for_hole(OpenImage& layer, Extent& extent) {
  const auto* const qcow2 = layer.qcow2_image();
  if (qcow2 == nullptr || !extent.data || extent.zero || extent.compressed || !extent.host ||
      qcow2->header().v2.crypt_method != 0)
    return;
  const storage::Device& device = layer.data_file() != nullptr ? *layer.data_file() : layer.device();
  const std::uint64_t at = extent.host->raw();
  if (at >= device.size()) return;
  const auto part = device.extent(at);
  if (part.hole) extent.zero = true;
  if (part.hole || part.end < device.size()) extent.length = std::min(extent.length, part.end - at);
}

base::Result<ChainExtent> piece(OpenImage& top, base::GuestOffset at, std::uint64_t most, Holes holes,
                                const OpenImage* stop) {
  OpenImage* layer = &top;
  for (std::size_t depth = 0;; ++depth) {
    auto extent = layer->disk().extent(at, most);
    if (!extent)
      return depth == 0 ? std::unexpected(extent.error())
                        : about("backing file", layer->file(), extent.error());
    most = std::min(most, extent->length);
    OpenImage* const below = layer->backing();
    if (!extent->allocated && below != nullptr && below == stop)
      return ChainExtent{Extent{.length = most}, depth + 1};
    if (extent->allocated || below == nullptr || at.raw() >= below->disk().size()) {
      extent->length = most;
      extent->zero = extent->zero || !extent->allocated;
      if (holes == Holes::zero) look_for_hole(*layer, *extent);
      return ChainExtent{*extent, depth};
    }
    most = std::min(most, below->disk().size() - at.raw());
    layer = below;
  }
}

}  // namespace

base::Result<std::unique_ptr<OpenImage>> open_image(const std::string& file, const ChainOptions& options,
                                                    const OpenFile& open) {
  return Opener(options, open).image(file);
}

base::Result<ChainExtent> chain_extent(OpenImage& top, base::GuestOffset at, std::uint64_t most, Holes holes,
                                       const OpenImage* stop) {
  auto whole = piece(top, at, most, holes, stop);
  while (whole && whole->extent.length < most) {
    const auto next = piece(top, base::GuestOffset{at.raw() + whole->extent.length},
                            most - whole->extent.length, holes, stop);
    if (!next || !goes_on(*whole, *next)) break;  // what can't be told is for who gets there
    whole->extent.length += next->extent.length;
  }
  return whole;
}

std::unexpected<base::Error> about_image(const OpenImage& image, base::Error error) {
  error.message = fmt::format("{}: {}", base::escape(image.file()), error.message);
  return std::unexpected(std::move(error));
}

}  // namespace cowvet::engine
