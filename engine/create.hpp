// Making a new image. Promises: options mean what `qemu-img create -o` means by them; every combination that the format
// forbids is refused with the reason before anything is written; the result is a sound image whatever the options.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/progress.hpp"
#include "base/result.hpp"
#include "engine/cipher.hpp"
#include "engine/qcow2_disk.hpp"
#include "format/geometry.hpp"
#include "format/header.hpp"
#include "storage/device.hpp"

namespace cowvet::engine {

struct CreateOptions {
  std::uint64_t size = 0;              // bytes; rounded up to whole sectors
  std::uint32_t version = 3;           // compat: 0.10 is 2, 1.1 is 3
  std::uint64_t cluster_size = 65536;  // bytes
  std::uint32_t refcount_bits = 16;    // 1 to 64, a power of two
  bool lazy_refcounts = false;
  bool extended_l2 = false;
  format::Compression compression = format::Compression::deflate;
  Preallocation preallocation = Preallocation::off;
  std::optional<std::string> data_file = {};  // its name, as stored
  bool data_file_raw = false;
  std::optional<std::string> backing_file = {};  // its name, as stored
  std::optional<std::string> backing_format = {};
  std::optional<EncryptOptions> encrypt = {};  // engine/cipher.hpp
};

// What an image with these options looks like. Error usage: options that contradict each other or the format's limits.
[[nodiscard]] base::Result<format::Geometry> check_options(const CreateOptions& options);

// Writes a new image over `device`, whose old content is given up, and over `data_file`, the external data
// file's device, when the options name one. The first sector comes last: until the image is whole it does not
// look like one.
[[nodiscard]] base::Result<void> create_qcow2(storage::Device& device, storage::Device* data_file,
                                              const CreateOptions& options, base::Progress& progress);

// Bytes that an image with these options takes: when `allocated` bytes of data are copied into it (whole clusters), and
// when every cluster is written; the figures of `qemu-img measure`. (A LUKS header's refcounts are counted,
// which qemu-img 7.2 forgets: with small clusters its figures are a little too small.) Errors as check_options().
struct Measure {
  std::uint64_t required = 0, fully_allocated = 0;
};
[[nodiscard]] base::Result<Measure> measure_qcow2(const CreateOptions& options, std::uint64_t allocated);

// Bytes that copies of these bitmaps, of a disk of `size` bytes, take in an image with such clusters.
[[nodiscard]] std::uint64_t measure_bitmaps(const std::vector<BitmapInfo>& bitmaps, std::uint64_t size,
                                            std::uint64_t cluster_size);

}  // namespace cowvet::engine
