// Changes kept in memory over a device that is never written. Promises: reads see base and changes as one device;
// what was changed is known to the byte and told in order; memory grows with what is written, not with what is read.
#pragma once
#include <map>
#include <shared_mutex>
#include <vector>

#include "storage/device.hpp"

namespace cowvet::storage {

struct Range {
  std::uint64_t begin = 0, end = 0;
  friend bool operator==(const Range&, const Range&) = default;
};

class Overlay final : public Device {
 public:
  explicit Overlay(const Device& base) : base_(base), size_(base.size()), base_end_(base.size()) {}

  [[nodiscard]] std::uint64_t size() const override;
  [[nodiscard]] bool is_block_device() const override { return base_.is_block_device(); }
  // At most: bytes written over data count twice.
  [[nodiscard]] std::uint64_t allocated() const override;
  using Device::read;
  void read(std::span<ReadRequest> batch) const override;
  [[nodiscard]] Extent extent(std::uint64_t offset) const override;
  [[nodiscard]] base::Result<void> write(std::uint64_t offset, base::ConstBytes bytes) override;
  [[nodiscard]] base::Result<void> resize(std::uint64_t size) override;

  // The ranges below size() that need not be what the base holds there: written, or cut off and grown again.
  // In order, not touching each other. What was cut off and not grown again is told by the sizes.
  [[nodiscard]] std::vector<Range> changes() const;

 private:
  using Segments = std::map<std::uint64_t, std::vector<std::byte>>;  // by offset; they never overlap

  // The first segment that ends behind `offset`.
  [[nodiscard]] Segments::const_iterator from(std::uint64_t offset) const;
  [[nodiscard]] std::uint64_t written(std::uint64_t begin, std::uint64_t end) const;
  void apply(ReadRequest& request) const;
  void insert(Segments::iterator before, std::uint64_t offset, base::ConstBytes bytes);

  const Device& base_;
  mutable std::shared_mutex mutex_;
  Segments segments_;
  std::uint64_t size_;
  std::uint64_t base_end_;  // behind this the base is not seen any more: the smallest size there was
};

}  // namespace cowvet::storage
