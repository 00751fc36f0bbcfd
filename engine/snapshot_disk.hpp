// A snapshot's content as a read-only disk. Lives as long as its image.
#pragma once
#include <cstdint>
#include <vector>

#include "engine/image.hpp"

namespace cowvet::engine {

class SnapshotDisk final : public Disk {
 public:
  SnapshotDisk(const Image& image, std::vector<std::uint64_t> l1, std::uint64_t size)
      : l1_(std::move(l1)), size_(size), reader_(image.reading, l1_) {}

  [[nodiscard]] std::uint64_t size() const override { return size_; }
  [[nodiscard]] bool writable() const override { return false; }
  [[nodiscard]] base::Result<void> read(base::GuestOffset at, base::MutableBytes into) const override;
  [[nodiscard]] base::Result<Extent> extent(base::GuestOffset at, std::uint64_t most) const override;
  [[nodiscard]] base::Result<void> write(base::GuestOffset at, base::ConstBytes bytes) override;
  [[nodiscard]] base::Result<void> zero(base::GuestOffset at, std::uint64_t length, Unmap unmap) override;
  [[nodiscard]] base::Result<void> discard(base::GuestOffset at, std::uint64_t length) override;
  [[nodiscard]] base::Result<void> flush() override { return {}; }

 private:
  std::vector<std::uint64_t> l1_;
  std::uint64_t size_;
  LayerReader reader_;
};

}  // namespace cowvet::engine
