// The disk's size. Promises: growing takes effect last, when all that the new part needs is durable, and
// reads as zeros; shrinking takes effect first, and only then gives anything up.
#pragma once
#include <cstdint>

#include "engine/changes.hpp"
#include "engine/cluster_writer.hpp"
#include "engine/image.hpp"

namespace cowvet::engine {

class DiskSize {
 public:
  DiskSize(Image& image, Changes& changes, ClusterWriter& writer)
      : image_(image), changes_(changes), writer_(writer) {}

  // Whether the image can have that size: error, as resize() would say it.
  [[nodiscard]] base::Result<void> takes(std::uint64_t size) const;
  [[nodiscard]] base::Result<void> resize(std::uint64_t size, Preallocation preallocation,
                                          base::Progress* progress = nullptr);
  // An L1 table with at least so many entries.
  [[nodiscard]] base::Result<void> grow_l1(std::uint64_t entries);

 private:
  [[nodiscard]] base::Result<void> grow(std::uint64_t size, Preallocation preallocation,
                                        base::Progress* progress);
  [[nodiscard]] base::Result<void> shrink(std::uint64_t size);
  [[nodiscard]] base::Result<void> grow_data_file(std::uint64_t size);
  [[nodiscard]] base::Result<void> store_size(std::uint64_t size);

  Image& image_;
  Changes& changes_;
  ClusterWriter& writer_;
};

}  // namespace cowvet::engine
