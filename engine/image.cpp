#include "engine/image.hpp"

#include <algorithm>

namespace cowvet::engine {

namespace {
constexpr std::uint64_t least_tables = 8;  // what one change may touch, and its copies
}

Image::Image(storage::Device& device, HeaderArea area, const OpenOptions& options)
    : file(device),
      header(std::move(area)),
      rules{header.geometry(), fields().external_data_file(), fields().has_v3()},
      tables(file, static_cast<std::size_t>(header.geometry().cluster_size()),
             std::max(options.cache_bytes, least_tables * header.geometry().cluster_size())),
      reading{.rules = rules},
      active(reading, l1) {
  header.move_to(file);
  if (options.data_file != nullptr && rules.data_file) data.emplace(*options.data_file);
  reading.codec = fields().compression().value_or(format::Compression::deflate);
  reading.crypt = static_cast<format::CryptMethod>(fields().v2.crypt_method);
  reading.tables = &tables;
  reading.image = &file;
  reading.streams = &streams;
  reading.data = data ? &*data : nullptr;
  reading.cipher = options.cipher;
  reading.backing = options.backing;
}

base::Result<std::unique_ptr<Image>> Image::open(storage::Device& device, const OpenOptions& options) {
  Medium medium(device);
  auto area = HeaderArea::open(medium);
  if (!area) return std::unexpected(area.error());
  if (options.writable)
    if (auto fine = area->writable(); !fine) return std::unexpected(fine.error());

  std::unique_ptr<Image> image(new Image(device, std::move(*area), options));
  const auto& v2 = image->fields().v2;
  auto l1 = read_l1(image->file, v2.l1_table_offset, v2.l1_size, "L1 table");
  if (!l1) return std::unexpected(l1.error());
  image->l1 = std::move(*l1);
  auto snapshots = read_snapshot_table(image->file, image->fields(), image->geometry());
  if (snapshots) {
    image->snapshots = std::move(snapshots->list);
    image->snapshot_bytes = snapshots->length;
  } else {
    if (options.writable) return std::unexpected(snapshots.error());
    image->snapshot_fault = snapshots.error();
  }
  return image;
}

}  // namespace cowvet::engine
