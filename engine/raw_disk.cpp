#include "engine/raw_disk.hpp"

#include <algorithm>
#include <optional>

#include "base/checked.hpp"
#include "engine/disk_range.hpp"
#include "engine/medium.hpp"
#include "format/geometry.hpp"

namespace cowvet::engine {

namespace {

class RawDisk final : public Disk {
 public:
  RawDisk(storage::Device& device, bool writable)
      : device_(device),
        writable_(writable),
        size_(base::round_up(device.size(), format::limits::sector).value_or(device.size())) {}

  [[nodiscard]] std::uint64_t size() const override { return size_; }
  [[nodiscard]] bool writable() const override { return writable_; }
  [[nodiscard]] base::Result<void> read(base::GuestOffset at, base::MutableBytes into) const override;
  [[nodiscard]] base::Result<Extent> extent(base::GuestOffset at, std::uint64_t most) const override;
  [[nodiscard]] base::Result<void> write(base::GuestOffset at, base::ConstBytes bytes) override;
  [[nodiscard]] base::Result<void> zero(base::GuestOffset at, std::uint64_t length, Unmap unmap) override;
  [[nodiscard]] base::Result<void> discard(base::GuestOffset at, std::uint64_t length) override;
  [[nodiscard]] base::Result<void> flush() override;

 private:
  [[nodiscard]] base::Result<void> may_change(base::GuestOffset at, std::uint64_t length) const;

  storage::Device& device_;
  bool writable_;
  std::uint64_t size_;
  std::optional<base::Error> ended_;  // a flush failed
};

base::Result<void> RawDisk::read(base::GuestOffset at, base::MutableBytes into) const {
  if (auto inside = within_disk(at, into.size(), size_); !inside) return inside;
  const auto request = device_.read(at.raw(), into);
  if (request.os_error == 0) return {};  // what lies behind the file's end was filled with zeros
  return complete(request, "data");
}

base::Result<Extent> RawDisk::extent(base::GuestOffset at, std::uint64_t most) const {
  if (auto inside = within_disk(at, most, size_); !inside) return std::unexpected(inside.error());
  if (at.raw() >= device_.size()) return Extent{.length = most, .allocated = true, .zero = true};
  const auto part = device_.extent(at.raw());
  return Extent{.length = std::min(most, part.end - at.raw()),
                .allocated = true,
                .zero = part.hole,
                .data = !part.hole,
                .host = base::HostOffset{at.raw()}};
}

base::Result<void> RawDisk::may_change(base::GuestOffset at, std::uint64_t length) const {
  if (!writable_) return base::fail(base::ErrorKind::usage, "the image is opened read-only");
  if (ended_) return std::unexpected(*ended_);
  return within_disk(at, length, size_);
}

base::Result<void> RawDisk::write(base::GuestOffset at, base::ConstBytes bytes) {
  if (auto may = may_change(at, bytes.size()); !may) return may;
  return device_.write(at.raw(), bytes);
}

base::Result<void> RawDisk::zero(base::GuestOffset at, std::uint64_t length, Unmap unmap) {
  if (auto may = may_change(at, length); !may) return may;
  if (unmap == Unmap::yes) return device_.discard(at.raw(), length);
  const std::uint64_t end = std::min(at.raw() + length, device_.size());
  return at.raw() < end ? device_.zero(at.raw(), end - at.raw()) : base::Result<void>{};
}

base::Result<void> RawDisk::discard(base::GuestOffset at, std::uint64_t length) {
  if (auto may = may_change(at, length); !may) return may;
  return device_.discard(at.raw(), length);
}

base::Result<void> RawDisk::flush() {
  if (ended_) return std::unexpected(*ended_);
  auto flushed = device_.flush();
  if (!flushed) ended_ = flushed.error();
  return flushed;
}

}  // namespace

std::unique_ptr<Disk> open_raw(storage::Device& device, bool writable) {
  return std::make_unique<RawDisk>(device, writable);
}

}  // namespace cowvet::engine
