// Making a new image. Promises: options mean what `qemu-img create -o` means by them; every combination that the format
// forbids is refused with the reason before anything is written; the result is a sound image whatever the options.
#pragma once
#include <cstdint>
#include <optional>
#include <string>

#include "base/progress.hpp"
#include "base/result.hpp"
#include "engine/cipher.hpp"
#include "engine/qcow2_disk.hpp"
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

// Writes a new image over `device`, whose old content is given up. `data_file` is the external data file's device, when
// the options name one.
[[nodiscard]] base::Result<void> create_qcow2(storage::Device& device, storage::Device* data_file,
                                              const CreateOptions& options, base::Progress& progress);

// Bytes that an image with these options takes on disk: with nothing but metadata for `allocated` bytes of
// data, and when every cluster is written; the figures of `qemu-img measure`.
struct Measure {
  std::uint64_t required = 0, fully_allocated = 0;
};
[[nodiscard]] base::Result<Measure> measure_qcow2(const CreateOptions& options, std::uint64_t allocated);

}  // namespace cowvet::engine
