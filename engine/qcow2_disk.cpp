#include "engine/qcow2_disk.hpp"

#include "engine/disk_range.hpp"
#include "engine/image.hpp"
#include "engine/snapshot_disk.hpp"

namespace cowvet::engine {

class Qcow2Disk::Impl {
 public:
  std::unique_ptr<Image> image;
  bool writable = false;
};

Qcow2Disk::Qcow2Disk(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Qcow2Disk::~Qcow2Disk() = default;

base::Result<std::unique_ptr<Qcow2Disk>> Qcow2Disk::open(storage::Device& device, const OpenOptions& options) {
  auto image = Image::open(device, options);
  if (!image) return std::unexpected(image.error());
  auto impl = std::make_unique<Impl>();
  impl->image = std::move(*image);
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

std::vector<SnapshotInfo> Qcow2Disk::snapshots() const {
  std::vector<SnapshotInfo> list;
  for (const auto& s : impl_->image->snapshots)
    list.push_back({.id = s.id,
                    .name = s.name,
                    .vm_state_size = s.vm_state_size(),
                    .date_sec = s.entry.date_sec,
                    .date_nsec = s.entry.date_nsec,
                    .vm_clock_nsec = s.entry.vm_clock_nsec,
                    .icount = s.icount(),
                    .disk_size = s.disk_size_bytes().value_or(size())});
  return list;
}

base::Result<std::unique_ptr<Disk>> Qcow2Disk::snapshot_disk(std::string_view name) const {
  const auto& image = *impl_->image;
  if (image.snapshot_fault) return std::unexpected(*image.snapshot_fault);
  const auto index = find_snapshot(image.snapshots, name);
  if (!index) return std::unexpected(index.error());
  const auto& snapshot = image.snapshots[*index];
  auto l1 = read_snapshot_l1(image.file, image.geometry(), snapshot);
  if (!l1) return std::unexpected(l1.error());
  return std::make_unique<SnapshotDisk>(image, std::move(*l1), snapshot.disk_size_bytes().value_or(image.size()));
}

base::Result<void> Qcow2Disk::read_vm_state(std::uint64_t at, base::MutableBytes into) const {
  const auto& image = *impl_->image;
  const std::uint64_t end = image.l1.size() * image.geometry().span();
  const std::uint64_t begin = image.vm_state_begin();
  if (auto fine = within_disk(base::GuestOffset{at}, into.size(), end > begin ? end - begin : 0); !fine) return fine;
  return image.active.read(begin + at, into, 0);
}

base::Result<void> Qcow2Disk::write(base::GuestOffset, base::ConstBytes) {
  return base::fail(base::ErrorKind::usage, "opened read-only");
}
base::Result<void> Qcow2Disk::zero(base::GuestOffset, std::uint64_t, Unmap) {
  return base::fail(base::ErrorKind::usage, "opened read-only");
}
base::Result<void> Qcow2Disk::discard(base::GuestOffset, std::uint64_t) {
  return base::fail(base::ErrorKind::usage, "opened read-only");
}
base::Result<void> Qcow2Disk::flush() { return {}; }

}  // namespace cowvet::engine
