// A device whose failing reads are tried again, each failing range by itself. Promises: what can be read is
// read, to the sector; what fails every time is told as the device tells it. It is only read.
#pragma once
#include <atomic>
#include <cstdint>

#include "storage/device.hpp"

namespace cowvet::storage {

class Retries final : public Device {
 public:
  // `under` must live longer. `times`: how often a range is tried again.
  Retries(const Device& under, unsigned times) : under_(under), times_(times) {}

  [[nodiscard]] std::uint64_t size() const override { return under_.size(); }
  [[nodiscard]] std::uint64_t allocated() const override { return under_.allocated(); }
  [[nodiscard]] bool is_block_device() const override { return under_.is_block_device(); }
  [[nodiscard]] std::optional<Identity> identity() const override { return under_.identity(); }
  using Device::read;
  void read(std::span<ReadRequest> batch) const override;
  [[nodiscard]] Extent extent(std::uint64_t offset) const override { return under_.extent(offset); }

  // How often a range failed once and was read later.
  [[nodiscard]] std::uint64_t recovered() const { return recovered_; }

 private:
  const Device& under_;
  const unsigned times_;
  mutable std::atomic<std::uint64_t> recovered_{0};
};

}  // namespace cowvet::storage
