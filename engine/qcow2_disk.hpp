// A qcow2 image as a disk: reading, writing, snapshots, bitmaps, resizing. Promises: after a crash at any
// moment the image has at worst leaked clusters, and holds all that was flushed (the order of writes:
// engine/README.md); an image that can't be read without guessing is refused with the reason, never repaired
// on the way; opened for reading it changes nothing.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/progress.hpp"
#include "engine/disk.hpp"
#include "format/geometry.hpp"
#include "format/header.hpp"
#include "format/snapshot.hpp"
#include "storage/device.hpp"

namespace cowvet::engine {

class Cipher;  // engine/cipher.hpp: encrypts and decrypts sectors of one image
struct NewKey;
struct OldKeys;

struct OpenOptions {
  bool writable = false;
  // What lies below: the backing file, null when there is none or when it is not wanted (unallocated reads as
  // zeros then).
  std::shared_ptr<const Disk> backing = nullptr;
  // The external data file; must outlive the disk. Needed for data access when the image has one.
  storage::Device* data_file = nullptr;
  // The key of an encrypted image; without it metadata can be used, data can't.
  std::shared_ptr<const Cipher> cipher = nullptr;
  // Bytes for cached tables; the rest is read again when needed.
  std::uint64_t cache_bytes = 16ULL << 20;
};

struct SnapshotInfo {  // what snapshot lists show; see format::Snapshot for the fields' meaning
  std::string id, name;
  std::uint64_t vm_state_size = 0;
  std::uint32_t date_sec = 0, date_nsec = 0;
  std::uint64_t vm_clock_nsec = 0;
  std::optional<std::uint64_t> icount;
  std::uint64_t disk_size = 0;
};

struct BitmapInfo {
  std::string name;
  std::uint64_t granularity = 0;  // bytes a bit
  bool enabled = false;           // records writes
  bool in_use = false;            // was not closed properly: its content can't be trusted
};

enum class Preallocation : std::uint8_t { off, metadata, falloc, full };

class Qcow2Disk final : public Disk {
 public:
  // `device` must outlive the disk. Errors: usage for what is no usable qcow2 image (message says which field
  // and what to do), io. Opening for writing refuses images marked corrupt or with unknown incompatible
  // features, and brings the refcounts of a dirty image up to date first (only when everything else is
  // sound).
  [[nodiscard]] static base::Result<std::unique_ptr<Qcow2Disk>> open(storage::Device& device,
                                                                     const OpenOptions& options);
  // Closes without writing: what was not flushed is gone, as after a crash. Call close() to end properly.
  ~Qcow2Disk() override;

  [[nodiscard]] std::uint64_t size() const override;
  [[nodiscard]] bool writable() const override;
  [[nodiscard]] base::Result<void> read(base::GuestOffset at, base::MutableBytes into) const override;
  [[nodiscard]] base::Result<Extent> extent(base::GuestOffset at, std::uint64_t most) const override;
  [[nodiscard]] base::Result<void> write(base::GuestOffset at, base::ConstBytes bytes) override;
  [[nodiscard]] base::Result<void> zero(base::GuestOffset at, std::uint64_t length, Unmap unmap) override;
  [[nodiscard]] base::Result<void> discard(base::GuestOffset at, std::uint64_t length) override;
  [[nodiscard]] base::Result<void> flush() override;

  // Writes clusters compressed; `at` is a multiple of the cluster size, `bytes` whole clusters (the disk's
  // last may be cut). A cluster that does not shrink is stored plainly.
  [[nodiscard]] base::Result<void> write_compressed(base::GuestOffset at, base::ConstBytes bytes);
  // The same with the compression done by the caller, on whatever thread: compress() is const and thread-safe; an empty
  // result means that the cluster does not shrink.
  [[nodiscard]] std::vector<std::byte> compress(base::ConstBytes cluster) const;
  [[nodiscard]] base::Result<void> write_precompressed(base::GuestOffset at, base::ConstBytes payload);
  // The disk holds nothing of its own any more: all of it shows what lies below. For the end of a commit: bitmaps don't
  // record it. Snapshots and VM state stay.
  [[nodiscard]] base::Result<void> give_up_content();

  // Flushes, clears the dirty bit, puts bitmaps out of use. Afterwards the disk can't be used.
  [[nodiscard]] base::Result<void> close();

  // Growing reads as zeros behind the old end (never the backing file's old tail). Shrinking drops what is behind.
  // Errors: usage when a snapshot, or a bitmap that can't follow, stands against it. `progress` counts the bytes that
  // are preallocated; asked to stop, the disk keeps its size (error cancelled).
  [[nodiscard]] base::Result<void> resize(std::uint64_t size,
                                          Preallocation preallocation = Preallocation::off,
                                          base::Progress* progress = nullptr);
  // Whether it can have that size, apart from bitmaps that can't follow: error usage or limit, as resize()
  // would say it.
  [[nodiscard]] base::Result<void> takes_size(std::uint64_t size) const;

  // Internal snapshots. `name` may be an id or a name for apply and remove (ids first, as in QEMU).
  [[nodiscard]] std::vector<SnapshotInfo> snapshots() const;
  [[nodiscard]] base::Result<SnapshotInfo> create_snapshot(std::string_view name, std::uint32_t date_sec,
                                                           std::uint32_t date_nsec);
  // One that says of itself what `like` says, but for the sizes; an empty id is given out. Error usage: the
  // id is taken.
  [[nodiscard]] base::Result<SnapshotInfo> create_snapshot(const SnapshotInfo& like);
  [[nodiscard]] base::Result<void> apply_snapshot(
      std::string_view name);  // the disk takes the snapshot's size too
  [[nodiscard]] base::Result<void> remove_snapshot(std::string_view name);
  // The one that has both the id and the name of `which`.
  [[nodiscard]] base::Result<void> remove_snapshot(const SnapshotInfo& which);
  // A snapshot's content as a read-only disk; lives as long as this disk and sees it as it is.
  [[nodiscard]] base::Result<std::unique_ptr<Disk>> snapshot_disk(std::string_view name) const;

  // VM state, at offset 0 of the area behind the disk: for programs that save and load it. What was never written reads
  // as zeros.
  [[nodiscard]] base::Result<void> read_vm_state(std::uint64_t at, base::MutableBytes into) const;
  [[nodiscard]] base::Result<void> write_vm_state(std::uint64_t at, base::ConstBytes bytes);

  // Persistent dirty bitmaps. Their content is read when it is first asked for: these functions don't run side by side.
  // Changes are stored by close().
  [[nodiscard]] std::vector<BitmapInfo> bitmaps() const;
  [[nodiscard]] base::Result<void> add_bitmap(std::string_view name, std::uint64_t granularity, bool enabled);
  [[nodiscard]] base::Result<void> remove_bitmap(std::string_view name);
  [[nodiscard]] base::Result<void> clear_bitmap(std::string_view name);
  [[nodiscard]] base::Result<void> enable_bitmap(std::string_view name, bool enabled);
  // Sets in `name` all bits whose granule has a set bit in `from`.
  [[nodiscard]] base::Result<void> merge_bitmap(std::string_view name, const Qcow2Disk& source,
                                                std::string_view from);
  // Whether any granule that touches the range is marked.
  [[nodiscard]] base::Result<bool> bitmap_marked(std::string_view name, base::GuestOffset at,
                                                 std::uint64_t length) const;

  // The header's changeable parts (amend, rebase). Each is one atomic write of the first sector, or of a new
  // name followed by it.
  [[nodiscard]] base::Result<void> set_backing_file(std::string_view name,
                                                    std::string_view format);  // empty name: none
  // Whether that would be done; its error otherwise. Nothing is written.
  [[nodiscard]] base::Result<void> takes_backing_file(std::string_view name, std::string_view format) const;
  [[nodiscard]] base::Result<void> set_lazy_refcounts(bool on);
  [[nodiscard]] base::Result<void> set_version(
      std::uint32_t version);  // 2 <-> 3, as `qemu-img amend -o compat`
  [[nodiscard]] base::Result<void> set_refcount_order(std::uint32_t order, base::Progress& progress);
  [[nodiscard]] base::Result<void> set_raw_external_data(bool on);
  [[nodiscard]] base::Result<void> set_data_file(std::string_view name);

  // Passwords of a LUKS image (engine/key_slots.hpp).
  [[nodiscard]] base::Result<void> add_key(const NewKey& key);
  [[nodiscard]] base::Result<void> erase_keys(const OldKeys& keys);

  // What the image says of itself.
  [[nodiscard]] const format::Header& header() const;
  [[nodiscard]] const format::Geometry& geometry() const;
  [[nodiscard]] std::optional<std::string> backing_name() const;    // raw bytes
  [[nodiscard]] std::optional<std::string> backing_format() const;  // raw bytes
  [[nodiscard]] std::optional<std::string> data_file_name() const;  // raw bytes

 private:
  class Impl;
  explicit Qcow2Disk(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace cowvet::engine
