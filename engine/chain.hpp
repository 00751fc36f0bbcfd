// An image and what lies below it, opened by name. Promises: names become paths as QEMU makes them; a chain
// that comes back to itself, or is deeper than a stated limit, is an error that names the files; lower layers
// are never opened for writing.
#pragma once
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/result.hpp"
#include "engine/disk.hpp"
#include "engine/qcow2_disk.hpp"
#include "storage/device.hpp"

namespace cowvet::engine {

enum class ImageFormat : std::uint8_t { probe, qcow2, raw };

struct ChainOptions {
  ImageFormat format = ImageFormat::probe;  // of the top
  bool writable = false;
  bool no_backing = false;                  // the top alone; what it does not have reads as zeros
  std::optional<std::string> backing = {};  // another backing file than the image names (empty: none)
  std::optional<ImageFormat> backing_format = {};
  std::optional<std::string> secret = {};    // opens every encrypted layer
  std::optional<std::string> snapshot = {};  // the top shows this internal snapshot, read-only
  std::uint64_t cache_bytes = 16ULL << 20;   // of the top; lower layers get as much
};

// Opens a file by name: cli/ hands in how (locks, --io).
using OpenFile =
    std::function<base::Result<std::unique_ptr<storage::Device>>(const std::string& file, bool writable)>;

// A disk with everything that it needs to live.
class OpenImage {
 public:
  virtual ~OpenImage() = default;
  [[nodiscard]] virtual Disk& disk() = 0;
  [[nodiscard]] virtual Qcow2Disk* qcow2() = 0;  // null: raw, or a snapshot's view
  [[nodiscard]] virtual Qcow2Disk*
  qcow2_image() = 0;  // the image itself, also behind a snapshot's view; null: raw
  [[nodiscard]] virtual const std::string& file() const = 0;
  [[nodiscard]] virtual ImageFormat format() const = 0;
  [[nodiscard]] virtual OpenImage* backing() = 0;  // the next lower layer; null at the bottom
  [[nodiscard]] virtual storage::Device& device() = 0;
  [[nodiscard]] virtual const storage::Device* data_file() const = 0;  // the external one; null without
  [[nodiscard]] virtual base::Result<void> close() = 0;                // ends a writable image properly
};

// The most files that a chain may have.
inline constexpr std::size_t deepest_chain = 256;

// Errors: about the image itself as they are; about a file below, its name comes first.
[[nodiscard]] base::Result<std::unique_ptr<OpenImage>> open_image(const std::string& file,
                                                                  const ChainOptions& options,
                                                                  const OpenFile& open);

// Extents of the whole chain: merged like `qemu-img map` does; depth counts from the top.
struct ChainExtent {
  Extent extent;
  std::size_t depth = 0;
};
// Data whose place in its file is a hole: told as data, or as what it reads as.
enum class Holes : std::uint8_t { data, zero };
// Layers from `stop` down are not looked at: what would be theirs to tell is not allocated, at the depth of `stop`.
[[nodiscard]] base::Result<ChainExtent> chain_extent(OpenImage& top, base::GuestOffset at, std::uint64_t most,
                                                     Holes holes = Holes::data,
                                                     const OpenImage* stop = nullptr);

// An error about an image, with its name in front.
[[nodiscard]] std::unexpected<base::Error> about_image(const OpenImage& image, base::Error error);

}  // namespace cowvet::engine
