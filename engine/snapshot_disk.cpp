#include "engine/snapshot_disk.hpp"

#include "engine/disk_range.hpp"

namespace cowvet::engine {

namespace {
base::Result<void> read_only() { return base::fail(base::ErrorKind::usage, "a snapshot can't be written"); }
}  // namespace

base::Result<void> SnapshotDisk::read(base::GuestOffset at, base::MutableBytes into) const {
  if (auto fine = within_disk(at, into.size(), size_); !fine) return fine;
  return reader_.read(at.raw(), into, size_);
}

base::Result<Extent> SnapshotDisk::extent(base::GuestOffset at, std::uint64_t most) const {
  if (auto fine = within_disk(at, most, size_); !fine) return std::unexpected(fine.error());
  return reader_.extent(at.raw(), most);
}

base::Result<void> SnapshotDisk::write(base::GuestOffset, base::ConstBytes) { return read_only(); }
base::Result<void> SnapshotDisk::zero(base::GuestOffset, std::uint64_t, Unmap) { return read_only(); }
base::Result<void> SnapshotDisk::discard(base::GuestOffset, std::uint64_t) { return read_only(); }

}  // namespace cowvet::engine
