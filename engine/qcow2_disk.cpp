#include "engine/qcow2_disk.hpp"

#include <algorithm>

#include <fmt/format.h>

#include "base/text.hpp"
#include "engine/bitmaps.hpp"
#include "engine/changes.hpp"
#include "engine/cluster_writer.hpp"
#include "engine/disk_range.hpp"
#include "engine/disk_size.hpp"
#include "engine/header_changes.hpp"
#include "engine/image.hpp"
#include "engine/key_slots.hpp"
#include "engine/refcount_rebuild.hpp"
#include "engine/scrap.hpp"
#include "engine/snapshot_disk.hpp"
#include "engine/snapshots.hpp"
#include "format/cluster_encoder.hpp"

namespace cowvet::engine {

class Qcow2Disk::Impl {
 public:
  explicit Impl(std::unique_ptr<Image> opened)
      : image(std::move(opened)),
        changes(*image),
        writer(*image, changes),
        bitmaps(*image, changes),
        snapshots(*image, changes, writer),
        sizes(*image, changes, writer),
        amend(*image, changes, writer, snapshots) {}

  // What every change begins with.
  [[nodiscard]] base::Result<void> begin() {
    if (closed) return base::fail(base::ErrorKind::usage, "the disk was closed");
    if (!writable) return base::fail(base::ErrorKind::usage, "opened read-only");
    if (auto fine = image->file.usable(); !fine) return fine;
    return changes.begin();
  }
  // The same for guest data of the disk, which bitmaps record. A change that fails may have been made in part.
  [[nodiscard]] base::Result<void> begin(base::GuestOffset at, std::uint64_t length) {
    if (auto fine = begin(); !fine) return fine;
    if (auto fine = within_disk(at, length, image->size()); !fine) return fine;
    if (auto fine = bitmaps.begin(); !fine) return fine;
    bitmaps.mark(at.raw(), length);
    return {};
  }

  std::unique_ptr<Image> image;
  Changes changes;
  ClusterWriter writer;
  Bitmaps bitmaps;
  Snapshots snapshots;
  DiskSize sizes;
  HeaderChanges amend;
  std::uint64_t vm_state = 0;  // bytes of VM state written since the last snapshot
  bool writable = false;
  bool closed = false;
};

Qcow2Disk::Qcow2Disk(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Qcow2Disk::~Qcow2Disk() = default;

base::Result<std::unique_ptr<Qcow2Disk>> Qcow2Disk::open(storage::Device& device,
                                                         const OpenOptions& options) {
  auto image = Image::open(device, options);
  if (!image) return std::unexpected(image.error());
  auto impl = std::make_unique<Impl>(std::move(*image));
  // A fault in bitmaps keeps nobody from reading the disk.
  const auto bitmaps = impl->bitmaps.load();
  if (options.writable) {
    if (!bitmaps) return std::unexpected(bitmaps.error());
    if (impl->image->fields().dirty())
      if (auto done = recount(*impl->image, impl->changes, impl->bitmaps); !done)
        return std::unexpected(done.error());
    if (auto loaded = impl->changes.load(); !loaded) return std::unexpected(loaded.error());
    if (auto done = recover_scrap(*impl->image, impl->changes, impl->bitmaps); !done)
      return std::unexpected(done.error());
    impl->writable = true;
  }
  return std::unique_ptr<Qcow2Disk>(new Qcow2Disk(std::move(impl)));
}

std::uint64_t Qcow2Disk::size() const { return impl_->image->size(); }
bool Qcow2Disk::writable() const { return impl_->writable; }
const format::Header& Qcow2Disk::header() const { return impl_->image->fields(); }
const format::Geometry& Qcow2Disk::geometry() const { return impl_->image->geometry(); }
std::optional<std::string> Qcow2Disk::backing_name() const { return impl_->image->header.backing_name(); }
std::optional<std::string> Qcow2Disk::backing_format() const {
  return impl_->image->header.text(format::ExtensionType::backing_format);
}
std::optional<std::string> Qcow2Disk::data_file_name() const {
  return impl_->image->header.text(format::ExtensionType::data_file);
}

base::Result<void> Qcow2Disk::read(base::GuestOffset at, base::MutableBytes into) const {
  const auto& image = *impl_->image;
  if (auto fine = within_disk(at, into.size(), image.size()); !fine) return fine;
  return image.active.read(at.raw(), into, image.size());
}

base::Result<Extent> Qcow2Disk::extent(base::GuestOffset at, std::uint64_t most) const {
  const auto& image = *impl_->image;
  if (auto fine = within_disk(at, most, image.size()); !fine) return std::unexpected(fine.error());
  return image.active.extent(at.raw(), most);
}

namespace {
SnapshotInfo info_of(const format::Snapshot& s, std::uint64_t disk_size) {
  return {.id = s.id,
          .name = s.name,
          .vm_state_size = s.vm_state_size(),
          .date_sec = s.entry.date_sec,
          .date_nsec = s.entry.date_nsec,
          .vm_clock_nsec = s.entry.vm_clock_nsec,
          .icount = s.icount(),
          .disk_size = s.disk_size_bytes().value_or(disk_size)};
}
}  // namespace

std::vector<SnapshotInfo> Qcow2Disk::snapshots() const {
  std::vector<SnapshotInfo> list;
  for (const auto& s : impl_->image->snapshots) list.push_back(info_of(s, size()));
  return list;
}

base::Result<SnapshotInfo> Qcow2Disk::create_snapshot(std::string_view name, std::uint32_t date_sec,
                                                      std::uint32_t date_nsec) {
  return create_snapshot(
      {.id = {}, .name = std::string(name), .date_sec = date_sec, .date_nsec = date_nsec, .icount = 0});
}

base::Result<SnapshotInfo> Qcow2Disk::create_snapshot(const SnapshotInfo& like) {
  if (auto fine = impl_->begin(); !fine) return std::unexpected(fine.error());
  const SnapshotFields fields{.id = like.id,
                              .name = like.name,
                              .date_sec = like.date_sec,
                              .date_nsec = like.date_nsec,
                              .vm_clock_nsec = like.vm_clock_nsec,
                              .icount = like.icount.value_or(UINT64_MAX)};
  if (auto done = impl_->snapshots.create(fields, impl_->vm_state); !done)
    return std::unexpected(done.error());
  impl_->vm_state = 0;
  return info_of(impl_->image->snapshots.back(), size());
}

base::Result<void> Qcow2Disk::apply_snapshot(std::string_view name) {
  if (auto fine = impl_->begin(); !fine) return fine;
  const auto index = find_snapshot(impl_->image->snapshots, name);
  if (!index) return std::unexpected(index.error());
  const std::uint64_t before = size();
  const std::uint64_t after = impl_->image->snapshots[*index].disk_size_bytes().value_or(before);
  if (after != before)
    if (auto fine = impl_->bitmaps.begin_resize(); !fine) return fine;
  if (auto fine = impl_->bitmaps.begin(); !fine) return fine;
  impl_->vm_state = 0;
  auto applied = impl_->snapshots.apply(*index);
  impl_->bitmaps.resize(size());
  impl_->bitmaps.mark(0, size());
  return applied;
}

base::Result<void> Qcow2Disk::remove_snapshot(std::string_view name) {
  if (auto fine = impl_->begin(); !fine) return fine;
  const auto index = find_snapshot(impl_->image->snapshots, name);
  if (!index) return std::unexpected(index.error());
  return impl_->snapshots.remove(*index);
}

base::Result<void> Qcow2Disk::remove_snapshot(const SnapshotInfo& which) {
  if (auto fine = impl_->begin(); !fine) return fine;
  const auto& list = impl_->image->snapshots;
  const auto found = std::ranges::find_if(
      list, [&](const format::Snapshot& s) { return s.id == which.id && s.name == which.name; });
  if (found == list.end())
    return base::fail(base::ErrorKind::usage, fmt::format("there is no snapshot '{}' with the id '{}'",
                                                          base::escape(which.name), base::escape(which.id)));
  return impl_->snapshots.remove(static_cast<std::size_t>(found - list.begin()));
}

base::Result<void> Qcow2Disk::resize(std::uint64_t size, Preallocation preallocation,
                                     base::Progress* progress) {
  if (auto fine = impl_->begin(); !fine) return fine;
  if (size == this->size()) return {};
  if (auto fine = impl_->bitmaps.begin_resize(); !fine) return fine;
  impl_->vm_state = 0;
  auto resized = impl_->sizes.resize(size, preallocation, progress);
  impl_->bitmaps.resize(this->size());
  return resized;
}

base::Result<void> Qcow2Disk::takes_size(std::uint64_t size) const { return impl_->sizes.takes(size); }

std::vector<BitmapInfo> Qcow2Disk::bitmaps() const { return impl_->bitmaps.list(); }

base::Result<void> Qcow2Disk::add_bitmap(std::string_view name, std::uint64_t granularity, bool enabled) {
  if (auto fine = impl_->begin(); !fine) return fine;
  return impl_->bitmaps.add(name, granularity, enabled);
}
base::Result<void> Qcow2Disk::remove_bitmap(std::string_view name) {
  if (auto fine = impl_->begin(); !fine) return fine;
  return impl_->bitmaps.remove(name);
}
base::Result<void> Qcow2Disk::clear_bitmap(std::string_view name) {
  if (auto fine = impl_->begin(); !fine) return fine;
  return impl_->bitmaps.clear(name);
}
base::Result<void> Qcow2Disk::enable_bitmap(std::string_view name, bool enabled) {
  if (auto fine = impl_->begin(); !fine) return fine;
  return impl_->bitmaps.enable(name, enabled);
}
base::Result<void> Qcow2Disk::merge_bitmap(std::string_view name, const Qcow2Disk& source,
                                           std::string_view from) {
  if (auto fine = impl_->begin(); !fine) return fine;
  return impl_->bitmaps.merge(name, source.impl_->bitmaps, from);
}
base::Result<bool> Qcow2Disk::bitmap_marked(std::string_view name, base::GuestOffset at,
                                            std::uint64_t length) const {
  return impl_->bitmaps.marked(name, at.raw(), length);
}

base::Result<void> Qcow2Disk::set_backing_file(std::string_view name, std::string_view format) {
  if (auto fine = impl_->begin(); !fine) return fine;
  return impl_->amend.set_backing_file(name, format);
}
base::Result<void> Qcow2Disk::takes_backing_file(std::string_view name, std::string_view format) const {
  return impl_->amend.takes_backing_file(name, format);
}
base::Result<void> Qcow2Disk::set_lazy_refcounts(bool on) {
  if (auto fine = impl_->begin(); !fine) return fine;
  return impl_->amend.set_lazy_refcounts(on);
}
base::Result<void> Qcow2Disk::set_version(std::uint32_t version) {
  if (auto fine = impl_->begin(); !fine) return fine;
  if (version != 2 && version != 3) return base::fail(base::ErrorKind::usage, "there are versions 2 and 3");
  return version == 3 ? impl_->amend.raise_version() : impl_->amend.lower_version();
}
base::Result<void> Qcow2Disk::set_refcount_order(std::uint32_t order, base::Progress& progress) {
  if (auto fine = impl_->begin(); !fine) return fine;
  if (!header().has_v3() && order != 4)
    return base::fail(base::ErrorKind::usage,
                      "version 2 has 16-bit refcounts only: amend the image to version 3 first");
  if (order == geometry().refcount_order()) return {};
  return change_refcount_order(*impl_->image, impl_->changes, order, progress);
}
base::Result<void> Qcow2Disk::set_raw_external_data(bool on) {
  if (auto fine = impl_->begin(); !fine) return fine;
  return impl_->amend.set_raw_external_data(on);
}

base::Result<void> Qcow2Disk::set_data_file(std::string_view name) {
  if (auto fine = impl_->begin(); !fine) return fine;
  return impl_->amend.set_data_file(name);
}
base::Result<void> Qcow2Disk::add_key(const NewKey& key) {
  if (auto fine = impl_->begin(); !fine) return fine;
  return KeySlots(*impl_->image).add(key);
}
base::Result<void> Qcow2Disk::erase_keys(const OldKeys& keys) {
  if (auto fine = impl_->begin(); !fine) return fine;
  return KeySlots(*impl_->image).erase(keys);
}

base::Result<void> Qcow2Disk::write_vm_state(std::uint64_t at, base::ConstBytes bytes) {
  if (auto fine = impl_->begin(); !fine) return fine;
  const auto& image = *impl_->image;
  if (image.rules.data_file)
    return base::fail(base::ErrorKind::usage, "an image with an external data file can't hold VM state");
  const std::uint64_t begin = image.vm_state_begin();
  const auto room = format::limits::max_virtual_size - std::min(begin, format::limits::max_virtual_size);
  if (auto fine = within_disk(base::GuestOffset{at}, bytes.size(), room); !fine) return fine;
  const std::uint64_t end = at + bytes.size();
  const std::uint64_t entries = image.geometry().l1_entries(begin + end);
  if (entries > image.l1.size())
    if (auto grown = impl_->sizes.grow_l1(entries + entries / 2); !grown) return grown;
  impl_->vm_state = std::max(impl_->vm_state, end);
  return impl_->writer.write(begin + at, bytes, {begin + room, 0});
}

base::Result<std::unique_ptr<Disk>> Qcow2Disk::snapshot_disk(std::string_view name) const {
  const auto& image = *impl_->image;
  if (image.snapshot_fault) return std::unexpected(*image.snapshot_fault);
  const auto index = find_snapshot(image.snapshots, name);
  if (!index) return std::unexpected(index.error());
  const auto& snapshot = image.snapshots[*index];
  auto l1 = read_snapshot_l1(image.file, image.geometry(), snapshot);
  if (!l1) return std::unexpected(l1.error());
  return std::make_unique<SnapshotDisk>(image, std::move(*l1),
                                        snapshot.disk_size_bytes().value_or(image.size()));
}

base::Result<void> Qcow2Disk::read_vm_state(std::uint64_t at, base::MutableBytes into) const {
  const auto& image = *impl_->image;
  const std::uint64_t begin = image.vm_state_begin();
  const auto room = format::limits::max_virtual_size - std::min(begin, format::limits::max_virtual_size);
  if (auto fine = within_disk(base::GuestOffset{at}, into.size(), room); !fine) return fine;
  return image.active.read(begin + at, into, 0);
}

base::Result<void> Qcow2Disk::write(base::GuestOffset at, base::ConstBytes bytes) {
  if (auto fine = impl_->begin(at, bytes.size()); !fine) return fine;
  return impl_->writer.write(at.raw(), bytes, impl_->writer.disk());
}

base::Result<void> Qcow2Disk::zero(base::GuestOffset at, std::uint64_t length, Unmap unmap) {
  if (auto fine = impl_->begin(at, length); !fine) return fine;
  return length == 0 ? base::Result<void>{}
                     : impl_->writer.zero(at.raw(), length, unmap, impl_->writer.disk());
}

base::Result<void> Qcow2Disk::discard(base::GuestOffset at, std::uint64_t length) {
  if (auto fine = impl_->begin(at, length); !fine) return fine;
  return length == 0 ? base::Result<void>{} : impl_->writer.discard(at.raw(), length, impl_->writer.disk());
}

base::Result<void> Qcow2Disk::give_up_content() {
  if (auto fine = impl_->begin(); !fine) return fine;
  if (impl_->image->fields().raw_external_data())
    return base::fail(base::ErrorKind::usage,
                      "a raw external data file is the whole disk: nothing shows through it");
  impl_->changes.cut_when_done();
  return impl_->writer.give_up(0, impl_->image->vm_state_begin());
}

base::Result<void> Qcow2Disk::flush() {
  if (!impl_->writable || impl_->closed) return {};
  return impl_->changes.commit();
}

base::Result<void> Qcow2Disk::close() {
  if (impl_->closed || !impl_->writable) return {};
  auto stored = impl_->bitmaps.store();
  auto done = impl_->changes.finish();
  impl_->closed = done.has_value();
  return done ? stored : done;
}

std::vector<std::byte> Qcow2Disk::compress(base::ConstBytes cluster) const {
  thread_local format::ClusterEncoder encoder;
  return encoder.encode(impl_->image->reading.codec, cluster);
}

base::Result<void> Qcow2Disk::write_precompressed(base::GuestOffset at, base::ConstBytes payload) {
  const std::uint64_t cs = geometry().cluster_size();
  if (auto fine = impl_->begin(at, 1); !fine) return fine;
  if (at.raw() % cs != 0 || payload.empty() || payload.size() >= cs)
    return base::fail(base::ErrorKind::usage, "a compressed cluster is one whole cluster that shrinks");
  if (impl_->image->rules.data_file)
    return base::fail(base::ErrorKind::usage,
                      "an image with an external data file can't hold compressed clusters");
  if (impl_->image->reading.crypt != format::CryptMethod::none)
    return base::fail(base::ErrorKind::usage,
                      "compressed clusters are not encrypted: an encrypted image can't hold them");
  return impl_->writer.write_stream(at.raw(), payload);
}

base::Result<void> Qcow2Disk::write_compressed(base::GuestOffset at, base::ConstBytes bytes) {
  const std::uint64_t cs = geometry().cluster_size();
  if (auto fine = impl_->begin(at, bytes.size()); !fine) return fine;
  if (at.raw() % cs != 0 || (bytes.size() % cs != 0 && at.raw() + bytes.size() != size()))
    return base::fail(base::ErrorKind::usage, "compressed writes are of whole clusters");
  while (!bytes.empty()) {
    const auto part = bytes.first(static_cast<std::size_t>(std::min<std::uint64_t>(cs, bytes.size())));
    std::vector<std::byte> cut;  // the disk's last cluster, filled up with zeros
    if (part.size() < cs) {
      cut.assign(part.begin(), part.end());
      cut.resize(static_cast<std::size_t>(cs));
    }
    const auto stream = compress(cut.empty() ? part : base::ConstBytes(cut));
    const auto done = stream.empty() ? write(at, part) : write_precompressed(at, stream);
    if (!done) return done;
    at = base::GuestOffset{at.raw() + part.size()};
    bytes = bytes.subspan(part.size());
  }
  return {};
}

}  // namespace cowvet::engine
