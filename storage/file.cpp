#include "storage/file.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <optional>
#include <vector>

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/checked.hpp"
#include "storage/batch.hpp"
#include "storage/descriptor.hpp"
#include "storage/holes.hpp"
#include "storage/locks.hpp"
#include "storage/uring.hpp"

namespace cowvet::storage {

namespace {

constexpr std::uint64_t block = 512;  // the unit of st_blocks

// How far reading ahead runs before the read that is due.
constexpr std::uint64_t ahead_bytes = 8 * 1024 * 1024;

// Fewer accesses than this are not worth a ring.
constexpr std::size_t least_for_ring = 4;

constexpr std::uint64_t file_limit = INT64_MAX;

// When so much was written in large pieces, which nobody is going to write again, the disk begins with it: a flush that
// comes after gigabytes has less to wait for.
constexpr std::size_t large_piece = 64 << 10;
constexpr std::uint64_t begun_at = 16 << 20;

class FileDevice final : public Device {
 public:
  FileDevice(Descriptor file, bool writable, bool durable, bool block_device, std::uint64_t size, bool sparse,
             std::unique_ptr<Rings> rings)
      : file_(std::move(file)),
        writable_(writable),
        durable_(durable),
        block_device_(block_device),
        size_(size),
        sparse_(sparse),
        rings_(std::move(rings)) {}

  [[nodiscard]] std::uint64_t size() const override { return size_.load(std::memory_order_relaxed); }
  [[nodiscard]] std::uint64_t allocated() const override;
  [[nodiscard]] bool is_block_device() const override { return block_device_; }
  [[nodiscard]] std::optional<Identity> identity() const override;
  using Device::read;
  void read(std::span<ReadRequest> batch) const override;
  [[nodiscard]] Extent extent(std::uint64_t offset) const override;
  void drop_cached(std::uint64_t offset, std::uint64_t length) const;
  [[nodiscard]] base::Result<void> write(std::uint64_t offset, base::ConstBytes bytes) override;
  [[nodiscard]] base::Result<void> resize(std::uint64_t size) override;
  [[nodiscard]] base::Result<void> flush() override;
  [[nodiscard]] base::Result<void> discard(std::uint64_t offset, std::uint64_t length) override;
  [[nodiscard]] base::Result<void> zero(std::uint64_t offset, std::uint64_t length) override;
  [[nodiscard]] base::Result<void> preallocate(std::uint64_t offset, std::uint64_t length) override;

 private:
  [[nodiscard]] bool is_hole(const ReadRequest& request) const;
  void read_one(ReadRequest& request) const;
  void read_runs(std::span<ReadRequest> batch, std::span<const std::uint32_t> order,
                 std::span<const Run> runs) const;
  void read_members(std::span<ReadRequest> batch, std::span<const std::uint32_t> order, const Run& run) const;
  [[nodiscard]] base::Result<void> write_all(std::uint64_t offset, base::ConstBytes bytes);
  void begin_flush(std::size_t written);
  [[nodiscard]] bool fallocate(int mode, std::uint64_t offset, std::uint64_t length);
  void grown_to(std::uint64_t end);
  void changed();

  Descriptor file_;
  bool writable_;
  bool durable_;
  bool block_device_;
  std::atomic<std::uint64_t> size_;
  std::atomic<bool> sparse_;  // there may be holes
  std::atomic<int> flush_error_{0};
  std::atomic<std::uint64_t> large_pieces_{0};  // bytes written in such pieces that the disk was not told of
  std::unique_ptr<Rings> rings_;                // nothing: plain system calls
  mutable Holes holes_;
  mutable std::atomic<bool> knows_nowait_{true};  // the file system understands RWF_NOWAIT
};

std::uint64_t FileDevice::allocated() const {
  struct stat status{};
  if (block_device_ || ::fstat(file_.get(), &status) != 0) return size();
  return static_cast<std::uint64_t>(status.st_blocks) * block;
}

std::optional<Identity> FileDevice::identity() const {
  struct stat status{};
  if (::fstat(file_.get(), &status) != 0) return std::nullopt;
  return Identity{status.st_dev, status.st_ino, status.st_mtim.tv_sec, status.st_mtim.tv_nsec,
                  block_device_ ? size() : static_cast<std::uint64_t>(status.st_size)};
}

bool FileDevice::is_hole(const ReadRequest& request) const {
  return sparse_.load(std::memory_order_relaxed) &&
         holes_.covers(file_.get(), request.offset, request.offset + request.valid);
}

Extent FileDevice::extent(std::uint64_t offset) const { return holes_.extent(file_.get(), offset, size()); }

void FileDevice::read(std::span<ReadRequest> batch) const {
  const std::uint64_t end = size();
  std::vector<std::uint32_t> order;
  if (batch.size() > 1) order.reserve(batch.size());
  for (std::uint32_t i = 0; i < batch.size(); ++i) {
    auto& request = batch[i];
    prepare(request, end);
    if (request.valid == 0) continue;
    if (is_hole(request)) {
      answer_hole(request);
    } else if (batch.size() == 1) {
      read_one(request);
    } else {
      order.push_back(i);
    }
  }
  if (order.empty()) return;
  const auto runs = plan_runs(batch, order);
  if (rings_ && runs.size() >= least_for_ring)
    rings_->read(file_.get(), batch, order, runs, [&](const Run& run) { read_members(batch, order, run); });
  else
    read_runs(batch, order, runs);
}

void FileDevice::read_one(ReadRequest& request) const {
  read_patiently(request, [fd = file_.get()](std::uint64_t offset, base::MutableBytes into) -> std::int64_t {
    const ssize_t got = ::pread(fd, into.data(), into.size(), static_cast<off_t>(offset));
    return got < 0 ? -errno : got;
  });
}

// Reads what the page cache holds at once. From the first miss on, the device is kept busy with the runs to come while
// the due one is waited for.
void FileDevice::read_runs(std::span<ReadRequest> batch, std::span<const std::uint32_t> order,
                           std::span<const Run> runs) const {
  const int fd = file_.get();
  std::array<std::byte, joined_gap> gap;
  RunVector vector;
  bool cold = !knows_nowait_.load(std::memory_order_relaxed);
  std::uint64_t told = 0;  // bytes that the kernel was told of and that are not read yet
  std::size_t next = 0;    // the first run that it was not told of
  for (std::size_t i = 0; i < runs.size(); ++i) {
    const Run& run = runs[i];
    const std::uint64_t length = run.end - run.begin;
    vector.set(batch, order, run, gap);
    const auto read = [&](int flags) {
      const ssize_t got = ::preadv2(fd, vector.data(), static_cast<int>(vector.count()),
                                    static_cast<off_t>(run.begin), flags);
      return got >= 0 && static_cast<std::uint64_t>(got) == length;
    };
    if (!cold && i + 1 < runs.size()) {
      errno = 0;
      if (read(RWF_NOWAIT)) continue;
      if (errno == EOPNOTSUPP) knows_nowait_.store(false, std::memory_order_relaxed);
      cold = true;
      next = i;
    }
    if (cold) {
      for (; next < runs.size() && told < ahead_bytes; ++next) {
        const std::uint64_t more = runs[next].end - runs[next].begin;
        ::posix_fadvise(fd, static_cast<off_t>(runs[next].begin), static_cast<off_t>(more),
                        POSIX_FADV_WILLNEED);
        told += more;
      }
      told -= length;
    }
    if (!read(0)) read_members(batch, order, run);
  }
}

void FileDevice::read_members(std::span<ReadRequest> batch, std::span<const std::uint32_t> order,
                              const Run& run) const {
  for (const auto index : order.subspan(run.first, run.last - run.first)) read_one(batch[index]);
}

void FileDevice::drop_cached(std::uint64_t offset, std::uint64_t length) const {
  if (length == 0 || offset > file_limit || length > file_limit - offset)
    return;  // 0 would be all that follows
  (void)::posix_fadvise(file_.get(), static_cast<off_t>(offset), static_cast<off_t>(length),
                        POSIX_FADV_DONTNEED);
}

base::Result<void> FileDevice::write(std::uint64_t offset, base::ConstBytes bytes) {
  if (!writable_) return read_only();
  if (offset > file_limit || bytes.size() > file_limit - offset)
    return std::unexpected(system_error("writing", EFBIG));
  auto result = write_all(offset, bytes);
  changed();
  begin_flush(bytes.size());
  return result;
}

// Where the kernel can't begin, it begins when it likes.
void FileDevice::begin_flush(std::size_t written) {
  if (!durable_ || written < large_piece) return;
  if (large_pieces_.fetch_add(written, std::memory_order_relaxed) + written < begun_at) return;
  large_pieces_.store(0, std::memory_order_relaxed);
  (void)::sync_file_range(file_.get(), 0, 0, SYNC_FILE_RANGE_WRITE);
}

base::Result<void> FileDevice::write_all(std::uint64_t offset, base::ConstBytes bytes) {
  while (!bytes.empty()) {
    const ssize_t put = ::pwrite(file_.get(), bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (put < 0 && errno == EINTR) continue;
    if (put <= 0) return std::unexpected(system_error("writing", put < 0 ? errno : ENOSPC));
    offset += static_cast<std::uint64_t>(put);
    bytes = bytes.subspan(static_cast<std::size_t>(put));
    grown_to(offset);
  }
  return {};
}

void FileDevice::grown_to(std::uint64_t end) {
  std::uint64_t known = size_.load();
  while (end > known && !size_.compare_exchange_weak(known, end)) {
  }
}

// Whether the file system did it: not all can, some only for whole blocks. Afterwards what is known of holes is void.
bool FileDevice::fallocate(int mode, std::uint64_t offset, std::uint64_t length) {
  int result = 0;
  do {
    result = ::fallocate(file_.get(), mode, static_cast<off_t>(offset), static_cast<off_t>(length));
  } while (result != 0 && errno == EINTR);
  changed();
  return result == 0;
}

base::Result<void> FileDevice::discard(std::uint64_t offset, std::uint64_t length) {
  if (!writable_) return read_only();
  const std::uint64_t end = std::min(base::saturating_add(offset, length), size());
  if (offset >= end || fallocate(FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, end - offset)) return {};
  return Device::discard(offset, length);
}

base::Result<void> FileDevice::zero(std::uint64_t offset, std::uint64_t length) {
  if (!writable_) return read_only();
  if (length == 0) return {};
  if (offset > file_limit || length > file_limit - offset)
    return std::unexpected(system_error("writing", EFBIG));
  const int mode = FALLOC_FL_ZERO_RANGE | (block_device_ ? FALLOC_FL_KEEP_SIZE : 0);
  if (!fallocate(mode, offset, length)) return Device::zero(offset, length);
  if (!block_device_) grown_to(offset + length);
  return {};
}

base::Result<void> FileDevice::preallocate(std::uint64_t offset, std::uint64_t length) {
  if (!writable_) return read_only();
  if (length == 0) return {};
  if (offset > file_limit || length > file_limit - offset)
    return std::unexpected(system_error("preallocating", EFBIG));
  if (block_device_) return Device::preallocate(offset, length);
  // Where the file system has no such thing, the C library touches every block instead.
  int error = 0;
  do {
    error = ::posix_fallocate(file_.get(), static_cast<off_t>(offset), static_cast<off_t>(length));
  } while (error == EINTR);
  changed();
  if (error != 0) return std::unexpected(system_error("preallocating", error));
  grown_to(offset + length);
  return {};
}

base::Result<void> FileDevice::resize(std::uint64_t size) {
  if (!writable_) return read_only();
  if (block_device_)
    return base::fail(base::ErrorKind::usage,
                      "a block device has a fixed size: resize it with its own tools");
  if (size > file_limit) return std::unexpected(system_error("resizing", EFBIG));
  // Emptying an empty file would make ext4 start writing all of it out at the end.
  if (size == this->size()) return {};
  while (::ftruncate(file_.get(), static_cast<off_t>(size)) != 0)
    if (errno != EINTR) return std::unexpected(system_error("resizing", errno));
  size_.store(size);
  changed();
  return {};
}

base::Result<void> FileDevice::flush() {
  if (!durable_) return {};
  // After a failed flush the kernel forgets which pages were lost: a later one would succeed and mean nothing.
  if (flush_error_.load() == 0 && ::fdatasync(file_.get()) != 0) flush_error_.store(errno);
  if (const int error = flush_error_.load(); error != 0)
    return std::unexpected(system_error("flushing", error));
  return {};
}

// To be called when a change is done: whatever was learned about holes before is void.
void FileDevice::changed() {
  sparse_.store(true, std::memory_order_relaxed);
  holes_.forget();
}

}  // namespace

namespace {

base::Result<std::unique_ptr<FileDevice>> open_as(const std::filesystem::path& path, Opening opening,
                                                  const FileOptions& options) {
  struct stat status{};
  auto file = open_descriptor(path, opening, status);
  if (!file) return std::unexpected(file.error());
  const bool writable = opening != Opening::read;
  if (writable && options.lock)
    if (auto locked = lock_for_writing(file->get()); !locked) return std::unexpected(locked.error());

  const bool block_device = S_ISBLK(status.st_mode);
  auto size = static_cast<std::uint64_t>(status.st_size);
  if (block_device && ::ioctl(file->get(), BLKGETSIZE64, &size) != 0)
    return std::unexpected(system_error("asking the device for its size", errno));
  const bool sparse = !block_device && static_cast<std::uint64_t>(status.st_blocks) * block < size;
  std::unique_ptr<Rings> rings;
  if (options.io == Io::uring) {
    rings = Rings::create();
    if (!rings) return base::fail(base::ErrorKind::usage, "io_uring is not available here: use --io posix");
  }
  return std::make_unique<FileDevice>(std::move(*file), writable, options.durable, block_device, size, sparse,
                                      std::move(rings));
}

}  // namespace

base::Result<std::unique_ptr<Device>> open_file(const std::filesystem::path& path,
                                                const FileOptions& options) {
  return open_as(path, options.writable ? Opening::write : Opening::read, options);
}

base::Result<std::unique_ptr<Device>> create_file(const std::filesystem::path& path,
                                                  const FileOptions& options) {
  auto device = open_as(path, Opening::create, options);
  if (device && !(*device)->is_block_device())
    if (auto emptied = (*device)->resize(0); !emptied) return std::unexpected(emptied.error());
  return device;
}

void drop_cached(const Device& device, std::uint64_t offset, std::uint64_t length) {
  if (const auto* const file = dynamic_cast<const FileDevice*>(&device)) file->drop_cached(offset, length);
}

}  // namespace cowvet::storage
