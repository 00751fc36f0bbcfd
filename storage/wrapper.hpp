// A device that hands everything on to another one; what differs is overridden. The other one must live longer.
#pragma once
#include "storage/device.hpp"

namespace cowvet::storage {

class Wrapper : public Device {
 public:
  explicit Wrapper(Device& under) : under_(under) {}

  [[nodiscard]] std::uint64_t size() const override { return under_.size(); }
  [[nodiscard]] std::uint64_t allocated() const override { return under_.allocated(); }
  [[nodiscard]] bool is_block_device() const override { return under_.is_block_device(); }
  [[nodiscard]] std::optional<Identity> identity() const override { return under_.identity(); }
  using Device::read;
  void read(std::span<ReadRequest> batch) const override { under_.read(batch); }
  [[nodiscard]] Extent extent(std::uint64_t offset) const override { return under_.extent(offset); }
  [[nodiscard]] base::Result<void> write(std::uint64_t offset, base::ConstBytes bytes) override {
    return under_.write(offset, bytes);
  }
  [[nodiscard]] base::Result<void> resize(std::uint64_t size) override { return under_.resize(size); }
  [[nodiscard]] base::Result<void> flush() override { return under_.flush(); }
  [[nodiscard]] base::Result<void> discard(std::uint64_t offset, std::uint64_t length) override {
    return under_.discard(offset, length);
  }
  [[nodiscard]] base::Result<void> zero(std::uint64_t offset, std::uint64_t length) override {
    return under_.zero(offset, length);
  }
  [[nodiscard]] base::Result<void> preallocate(std::uint64_t offset, std::uint64_t length) override {
    return under_.preallocate(offset, length);
  }

 protected:
  [[nodiscard]] Device& under() const { return under_; }

 private:
  Device& under_;
};

}  // namespace cowvet::storage
