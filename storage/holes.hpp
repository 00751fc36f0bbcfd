// Where a file has holes, asked of the file system and remembered a little. Promises: safe from several threads;
// a dense region costs one question, not one a read; an answer never outlives a write through the same device.
#pragma once
#include <array>
#include <atomic>
#include <cstdint>
#include <mutex>
#include <optional>

#include "storage/device.hpp"

namespace cowvet::storage {

class Holes {
 public:
  // Whether the whole of [begin, end) of `fd` is a hole; begin < end <= the file's size.
  [[nodiscard]] bool covers(int fd, std::uint64_t begin, std::uint64_t end);
  // The extent that holds `offset` in a file of `size` bytes; all data where the file system can't tell.
  [[nodiscard]] Extent extent(int fd, std::uint64_t offset, std::uint64_t size);
  // Forgets everything: the file was changed.
  void forget();

 private:
  [[nodiscard]] std::optional<Extent> recall(std::uint64_t offset) const;
  void remember(const Extent& extent, std::uint64_t generation);

  mutable std::mutex mutex_;
  std::array<Extent, 16> known_{};  // empty entries have begin == end
  std::size_t next_ = 0;
  std::atomic<std::uint64_t> generation_{0};
  std::atomic<std::uint64_t> last_data_{UINT64_MAX};  // end of the range last found to hold data
};

}  // namespace cowvet::storage
