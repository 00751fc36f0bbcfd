// Where the parts of a new image lie. Promises: computed from the options alone, before anything is written; the parts
// follow each other without gaps, metadata first, so that preallocated data is one run.
#pragma once
#include <cstdint>

#include "base/result.hpp"
#include "engine/create.hpp"
#include "format/geometry.hpp"

namespace cowvet::engine {

// A run of clusters.
struct Part {
  std::uint64_t first = 0, clusters = 0;
  [[nodiscard]] std::uint64_t end() const { return first + clusters; }
};

// The header takes cluster 0.
struct NewImage {
  format::Geometry geometry;
  std::uint64_t size = 0;                            // of the disk, bytes, whole sectors
  Preallocation preallocation = Preallocation::off;  // as it will be: raw data files force one
  Part refcount_table = {}, refcount_blocks = {}, l1 = {}, luks = {};
  Part l2 = {}, data = {};  // what is preallocated
  std::uint64_t luks_bytes = 0;
  std::uint64_t data_clusters =
      0;                  // of the disk that are mapped from the beginning; in `data` or in the data file
  std::uint64_t end = 0;  // clusters in the file, all of them in use

  [[nodiscard]] std::uint64_t offset(std::uint64_t cluster) const {
    return cluster << geometry.cluster_bits();
  }
};

[[nodiscard]] base::Result<NewImage> plan_image(const CreateOptions& options);

}  // namespace cowvet::engine
