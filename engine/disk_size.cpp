#include "engine/disk_size.hpp"

#include <algorithm>

namespace cowvet::engine {

namespace {
using base::ErrorKind;
namespace limits = format::limits;
}  // namespace

base::Result<void> DiskSize::takes(std::uint64_t size) const {
  if (size % limits::sector != 0)
    return base::fail(ErrorKind::usage, "the size must be a multiple of 512 bytes");
  if (size > limits::max_virtual_size || image_.geometry().l1_entries(size) > limits::max_l1_entries)
    return base::fail(ErrorKind::limit,
                      "the disk would be larger than its clusters allow: convert it to larger clusters");
  // A snapshot without a size of its own has the disk's; programs that know version 2 only expect that of all.
  if (!image_.fields().has_v3() && !image_.snapshots.empty() && size != image_.size())
    return base::fail(ErrorKind::usage,
                      "a version 2 image with snapshots can't be resized: amend it to compat=1.1 first");
  for (const auto& s : image_.snapshots)
    if (!s.disk_size_bytes())
      return base::fail(ErrorKind::usage,
                        "the image has snapshots that don't store the disk's size: remove them first");
  return {};
}

base::Result<void> DiskSize::resize(std::uint64_t size, Preallocation preallocation,
                                    base::Progress* progress) {
  if (auto fine = takes(size); !fine) return fine;
  if (size == image_.size()) return {};
  return size > image_.size() ? grow(size, preallocation, progress) : shrink(size);
}

base::Result<void> DiskSize::store_size(std::uint64_t size) {
  auto fields = image_.fields();
  fields.v2.size = size;
  if (auto stored = image_.header.store(fields); !stored) return stored;
  return image_.file.flush();
}

base::Result<void> DiskSize::grow(std::uint64_t size, Preallocation preallocation, base::Progress* progress) {
  const auto& g = image_.geometry();
  const std::uint64_t old = image_.size();
  // What is mapped behind the end (VM state, the rest of an interrupted shrinking) would become part of the disk.
  if (auto done = writer_.give_up(old, image_.l1.size() * g.span()); !done) return done;
  if (auto done = grow_l1(g.l1_entries(size)); !done) return done;
  if (auto done = grow_data_file(size); !done) return done;

  // The old end's cluster may hold anything behind it, and a longer backing file would show.
  const Area area{size, size};
  const std::uint64_t cluster_end = base::round_up(old, g.cluster_size()).value_or(old);
  std::uint64_t shown = 0;
  if (image_.names_backing())
    shown = image_.reading.backing != nullptr ? image_.reading.backing->size() : size;
  if (const std::uint64_t end = std::min(size, std::max(cluster_end, shown)); end > old)
    if (auto done = writer_.zero(old, end - old, Unmap::yes, area); !done) return done;
  if (preallocation != Preallocation::off) {
    if (auto done = writer_.preallocate(old, size, preallocation, progress); !done) {
      (void)writer_.give_up(old, image_.l1.size() * g.span());  // at worst it stays mapped behind the end
      return done;
    }
  }
  if (auto done = changes_.commit(true); !done) return done;
  return store_size(size);
}

base::Result<void> DiskSize::grow_data_file(std::uint64_t size) {
  if (!image_.fields().raw_external_data()) return {};
  Medium* data = image_.data_medium();
  if (data == nullptr)
    return base::fail(ErrorKind::usage, "the image keeps its data in another file, which was not opened");
  // Bytes behind the disk's end were not part of it.
  const std::uint64_t end = std::min(size, data->size());
  constexpr std::uint64_t most = 1ULL << 20;
  const std::vector<std::byte> zeros(
      end > image_.size() ? static_cast<std::size_t>(std::min(most, end - image_.size())) : 0);
  for (std::uint64_t at = image_.size(); at < end; at += zeros.size())
    if (auto done = data->write(at, base::ConstBytes(zeros).first(static_cast<std::size_t>(
                                        std::min<std::uint64_t>(zeros.size(), end - at))));
        !done)
      return done;
  return data->reach(size);
}

base::Result<void> DiskSize::shrink(std::uint64_t size) {
  if (auto done = changes_.commit(true); !done) return done;
  if (auto done = store_size(size); !done) return done;
  changes_.cut_when_done();
  // Tables that snapshots share are copied for that, which takes room. What stays mapped behind the end harms nobody.
  auto freed = writer_.give_up(size, image_.l1.size() * image_.geometry().span());
  if (freed) freed = changes_.settle();
  if (!freed) {
    freed.error().message =
        "the disk has its new size, but what lay behind it still takes space: " + freed.error().message;
    return freed;
  }
  Medium* data = image_.rules.data_file ? image_.data_medium() : nullptr;
  return data != nullptr && data->size() > size && !data->device().is_block_device() ? data->resize(size)
                                                                                     : base::Result<void>{};
}

base::Result<void> DiskSize::grow_l1(std::uint64_t entries) {
  if (entries <= image_.l1.size()) return {};
  if (entries > limits::max_l1_entries)
    return base::fail(ErrorKind::limit,
                      "the disk would be larger than its clusters allow: convert it to larger clusters");
  if (auto done = changes_.commit(true); !done) return done;
  auto l1 = image_.l1;
  l1.resize(static_cast<std::size_t>(entries));
  const auto table = changes_.place(encode_l1(l1));
  if (!table) return std::unexpected(table.error());
  if (auto done = changes_.commit(true); !done) {
    (void)changes_.refcounts().lower(*table);
    return done;
  }
  const auto before = changes_.clusters_of(image_.fields().v2.l1_table_offset, image_.l1.size() * 8);
  if (auto switched = changes_.switch_l1(l1, *table, image_.size()); !switched) return switched;
  // Its clusters may be counted again before their new content is there, and would pass for a lost table.
  const auto bits = image_.geometry().cluster_bits();
  if (auto wiped = image_.file.write(before.first << bits,
                                     std::vector<std::byte>(static_cast<std::size_t>(before.count << bits)));
      !wiped)
    return wiped;
  return changes_.refcounts().lower(before);
}

}  // namespace cowvet::engine
