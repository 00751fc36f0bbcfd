// What an image says of itself: its header, names, snapshots, bitmaps, encryption. Reads only the metadata that says
// so: no L1 or L2 table, no refcounts, no other file. Promises: what can't be read is left out, so that a damaged image
// still tells what it can; judging is check's.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/result.hpp"
#include "format/bitmap.hpp"
#include "format/extensions.hpp"
#include "format/geometry.hpp"
#include "format/header.hpp"
#include "format/luks.hpp"
#include "format/snapshot.hpp"
#include "storage/device.hpp"

namespace cowvet::analyzer {

struct Info {
  std::uint64_t virtual_size = 0;  // bytes, in whole sectors as QEMU counts
  std::uint64_t actual_size = 0;   // bytes that the file takes on its file system

  // Of a qcow2 image; a raw one has none of the rest.
  std::optional<format::Header> header;
  std::optional<format::Geometry> geometry;
  std::optional<std::string> backing_name, backing_format, data_file_name;  // raw bytes
  std::vector<format::Snapshot> snapshots;
  std::vector<format::Bitmap> bitmaps;  // only those that the autoclear bit vouches for
  std::optional<format::Luks> luks;

  [[nodiscard]] bool qcow2() const { return header.has_value(); }
  [[nodiscard]] bool encrypted() const { return header && header->v2.crypt_method != 0; }
};

enum class Format : std::uint8_t { probe, qcow2, raw };

// Errors: usage, when the file is no qcow2 image though it has to be, or its header can't be used.
[[nodiscard]] base::Result<Info> read_info(const storage::Device& device, Format format);

// The entries of the snapshot table and of the bitmap directory, up to the first that can't be read; no more
// bitmaps than an image may have.
[[nodiscard]] std::vector<format::Snapshot> read_snapshots(const storage::Device& device,
                                                           const format::Header& header);
[[nodiscard]] std::vector<format::Bitmap> read_bitmaps(const storage::Device& device,
                                                       const format::BitmapsExtension& where);

}  // namespace cowvet::analyzer
