// A device over an input of the fuzzer: the image that it describes, as a file system would keep it.
// Promises: holes are free, pages of 4 KiB that hold anything are data; no input makes a read fail.
#pragma once
#include <algorithm>
#include <vector>

#include "corpus/builder/sparse_bytes.hpp"
#include "fuzz/sparse_input.hpp"
#include "storage/device.hpp"

namespace cowvet::fuzz {

class SparseDevice final : public storage::Device {
 public:
  explicit SparseDevice(base::ConstBytes input) {
    for (const auto& piece : pieces_of(input)) {
      bytes_.write(piece.offset, input.subspan(piece.at, piece.length));
      bytes_.resize(std::max(bytes_.size(), piece.offset));
    }
    extents_ = bytes_.extents();
    for (const auto& extent : extents_) allocated_ += extent.length;
  }

  [[nodiscard]] std::uint64_t size() const override { return bytes_.size(); }
  [[nodiscard]] std::uint64_t allocated() const override { return allocated_; }
  using Device::read;
  void read(std::span<storage::ReadRequest> batch) const override {
    for (auto& request : batch) {
      const std::uint64_t there = request.offset < size() ? size() - request.offset : 0;
      request.valid = std::min<std::uint64_t>(there, request.into.size());
      const auto run = there != 0 ? extent(request.offset) : storage::Extent{};
      request.hole = request.valid != 0 && run.hole && run.end - request.offset >= request.valid;
      bytes_.read(request.offset, request.into);
    }
  }
  [[nodiscard]] storage::Extent extent(std::uint64_t offset) const override {
    const auto behind = std::ranges::upper_bound(extents_, offset, {}, &corpus::SparseBytes::Extent::offset);
    const std::uint64_t next = behind == extents_.end() ? size() : behind->offset;
    if (behind == extents_.begin()) return {0, next, true};
    const auto& run = *(behind - 1);
    if (offset < run.offset + run.length) return {run.offset, run.offset + run.length, false};
    return {run.offset + run.length, next, true};
  }

 private:
  corpus::SparseBytes bytes_;
  std::vector<corpus::SparseBytes::Extent> extents_;
  std::uint64_t allocated_ = 0;
};

}  // namespace cowvet::fuzz
