// An image in memory: for tests, fuzzing and overlays of small files. Promises: behaves as a file does, holes included
// (4 KiB granularity: an aligned run of zeros counts as a hole).
#pragma once
#include <vector>

#include "storage/device.hpp"

namespace cowvet::storage {

class MemoryDevice final : public Device {
 public:
  MemoryDevice() = default;
  explicit MemoryDevice(std::vector<std::byte> bytes) : bytes_(std::move(bytes)) {}

  [[nodiscard]] std::uint64_t size() const override { return bytes_.size(); }
  [[nodiscard]] std::uint64_t allocated() const override {
    return bytes_.size();
  }  // memory is taken, zeros or not
  using Device::read;
  void read(std::span<ReadRequest> batch) const override;
  [[nodiscard]] Extent extent(std::uint64_t offset) const override;
  [[nodiscard]] base::Result<void> write(std::uint64_t offset, base::ConstBytes bytes) override;
  [[nodiscard]] base::Result<void> resize(std::uint64_t size) override;

  [[nodiscard]] const std::vector<std::byte>& bytes() const { return bytes_; }

 private:
  std::vector<std::byte> bytes_;
};

}  // namespace cowvet::storage
