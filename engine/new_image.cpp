#include "engine/new_image.hpp"

#include <bit>

#include <fmt/format.h>

#include "base/checked.hpp"

namespace cowvet::engine {

namespace {

using base::ErrorKind;
namespace limits = format::limits;

base::Result<void> needs_version_3(const char* what, bool wanted, const CreateOptions& options) {
  if (!wanted || options.version >= 3) return {};
  return base::fail(ErrorKind::usage, fmt::format("{} can't be had with compat=0.10: use compat=1.1", what));
}

// What forbids a combination, without numbers.
base::Result<void> check_combination(const CreateOptions& o) {
  for (const auto& [what, wanted] :
       {std::pair{"lazy refcounts", o.lazy_refcounts}, std::pair{"extended L2 entries", o.extended_l2},
        std::pair{"another compression type than zlib", o.compression != format::Compression::deflate},
        std::pair{"an external data file", o.data_file.has_value()},
        std::pair{"a refcount width other than 16 bits", o.refcount_bits != 16}})
    if (auto fine = needs_version_3(what, wanted, o); !fine) return fine;
  if (o.data_file_raw && !o.data_file)
    return base::fail(ErrorKind::usage,
                      "data_file_raw is about an external data file: name one with data_file");
  if (o.data_file_raw && o.backing_file)
    return base::fail(
        ErrorKind::usage,
        "a raw data file alone is the whole disk, so there can be no backing file: leave one of them out");
  if (o.backing_file && o.preallocation != Preallocation::off && !o.extended_l2)
    return base::fail(
        ErrorKind::usage,
        "preallocated clusters would hide the backing file: use preallocation=off or extended_l2=on");
  if (o.backing_file && o.backing_file->size() > limits::max_backing_name)
    return base::fail(ErrorKind::usage,
                      "the backing file's name is longer than 1023 bytes: use a shorter one");
  if (o.backing_format && o.backing_format->size() > limits::max_backing_format)
    return base::fail(ErrorKind::usage,
                      "the backing file's format has a name longer than 15 bytes: check it");
  return {};
}

// The refcount structures for themselves and `others` clusters: the least that covers all.
struct RefcountClusters {
  std::uint64_t blocks = 0, table = 0;
};
RefcountClusters refcount_clusters(const format::Geometry& geometry, std::uint64_t others) {
  RefcountClusters found;
  for (;;) {
    const std::uint64_t blocks =
        base::divide_up(others + found.blocks + found.table, geometry.block_entries());
    const std::uint64_t table = geometry.clusters(blocks * sizeof(std::uint64_t));
    if (blocks == found.blocks && table == found.table) return found;
    found = {blocks, table};
  }
}

}  // namespace

base::Result<format::Geometry> check_options(const CreateOptions& o) {
  if (o.version != 2 && o.version != 3)
    return base::fail(ErrorKind::usage, fmt::format("there is no qcow2 version {}: use 2 or 3", o.version));
  const auto cluster_bits = static_cast<std::uint32_t>(std::bit_width(o.cluster_size)) - 1;
  if (!std::has_single_bit(o.cluster_size) || cluster_bits < limits::min_cluster_bits ||
      cluster_bits > limits::max_cluster_bits)
    return base::fail(
        ErrorKind::usage,
        fmt::format("the cluster size {} is no power of two from 512 to 2M: choose one", o.cluster_size));
  if (!std::has_single_bit(o.refcount_bits) || o.refcount_bits > 64)
    return base::fail(
        ErrorKind::usage,
        fmt::format("refcounts of {} bits don't exist: use 1, 2, 4, 8, 16, 32 or 64", o.refcount_bits));
  if (auto fine = check_combination(o); !fine) return std::unexpected(fine.error());
  const auto geometry = format::Geometry::make(
      cluster_bits, static_cast<std::uint32_t>(std::countr_zero(o.refcount_bits)), o.extended_l2);
  if (!geometry)
    return base::fail(
        ErrorKind::usage,
        fmt::format("extended L2 entries need clusters of at least 16k, not {} bytes", o.cluster_size));
  if (o.size > limits::max_virtual_size || geometry->l1_entries(o.size) > limits::max_l1_entries)
    return base::fail(
        ErrorKind::usage,
        fmt::format("a disk of {} bytes is too large for clusters of {} bytes: use a larger cluster_size",
                    o.size, o.cluster_size));
  return *geometry;
}

base::Result<NewImage> plan_image(const CreateOptions& options) {
  const auto geometry = check_options(options);
  if (!geometry) return std::unexpected(geometry.error());
  NewImage image{.geometry = *geometry,
                 .size = *base::round_up(options.size, limits::sector),
                 .preallocation = options.preallocation};
  // Whoever writes to a raw data file goes past the image: all of it must be mapped from the beginning.
  if (options.data_file_raw && image.preallocation == Preallocation::off)
    image.preallocation = Preallocation::metadata;
  if (options.encrypt && options.encrypt->method == format::CryptMethod::luks) {
    const auto bytes = luks_header_size(*options.encrypt);
    if (!bytes) return std::unexpected(bytes.error());
    image.luks_bytes = *bytes;
  }

  const std::uint64_t l1_entries = geometry->l1_entries(image.size);
  image.l1.clusters = geometry->clusters(l1_entries * sizeof(std::uint64_t));
  image.luks.clusters = geometry->clusters(image.luks_bytes);
  if (image.preallocation != Preallocation::off) {
    image.l2.clusters = l1_entries;
    image.data_clusters = geometry->clusters(image.size);
    image.data.clusters = options.data_file ? 0 : image.data_clusters;
  }
  const auto refcounts = refcount_clusters(
      *geometry, 1 + image.l1.clusters + image.luks.clusters + image.l2.clusters + image.data.clusters);
  image.refcount_table.clusters = refcounts.table;
  image.refcount_blocks.clusters = refcounts.blocks;
  image.end = 1;
  for (Part* part :
       {&image.refcount_table, &image.refcount_blocks, &image.l1, &image.luks, &image.l2, &image.data}) {
    part->first = image.end;
    image.end = part->end();
  }
  return image;
}

base::Result<Measure> measure_qcow2(const CreateOptions& options, std::uint64_t allocated) {
  // All clusters, as if they were preallocated in the image itself: an external data file's are counted as well.
  CreateOptions full = options;
  full.preallocation = Preallocation::full;
  full.data_file = std::nullopt;
  full.data_file_raw = false;
  full.backing_file = std::nullopt;
  if (auto fine = check_options(options); !fine) return std::unexpected(fine.error());
  const auto image = plan_image(full);
  if (!image) return std::unexpected(image.error());
  Measure measure;
  measure.fully_allocated = image->offset(image->end);
  const bool takes_all =
      options.preallocation == Preallocation::falloc || options.preallocation == Preallocation::full;
  measure.required =
      takes_all ? measure.fully_allocated : image->offset(image->end - image->data.clusters) + allocated;
  return measure;
}

std::uint64_t measure_bitmaps(const std::vector<BitmapInfo>& bitmaps, std::uint64_t size,
                              std::uint64_t cluster_size) {
  constexpr std::uint64_t entry_bytes = 24;  // and the name, up to a multiple of 8
  const auto clusters = [&](std::uint64_t bytes) { return base::divide_up(bytes, cluster_size); };
  std::uint64_t total = 0;
  std::uint64_t directory = 0;
  for (const auto& bitmap : bitmaps) {
    if (bitmap.granularity == 0) continue;
    const std::uint64_t data = clusters(base::divide_up(base::divide_up(size, bitmap.granularity), 8));
    total += data + clusters(data * sizeof(std::uint64_t));
    directory += base::divide_up(entry_bytes + bitmap.name.size(), 8) * 8;
  }
  return (total + clusters(directory)) * cluster_size;
}

}  // namespace cowvet::engine
