// A whole new set of refcounts beside the old one, exchanged by one write of the header: to change their width, and to
// bring those of a dirty image up to date. Promises: until that write the image is as before; the old set is
// not touched.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <unordered_map>
#include <vector>

#include "base/progress.hpp"
#include "engine/bitmaps.hpp"
#include "engine/changes.hpp"
#include "engine/image.hpp"

namespace cowvet::engine {

// The number of owners of each cluster; memory only where there are any.
class OwnerCounts {
 public:
  void add(Clusters clusters, std::uint64_t owners = 1);
  [[nodiscard]] std::uint64_t of(std::uint64_t cluster) const;
  [[nodiscard]] std::uint64_t end() const { return end_; }  // the first cluster behind all that have owners

 private:
  static constexpr std::uint64_t page = 4096;
  std::unordered_map<std::uint64_t, std::vector<std::uint32_t>> pages_;
  std::uint64_t end_ = 0;
};

// Writes refcounts of another width, with the counts that the old ones have.
[[nodiscard]] base::Result<void> change_refcount_order(Image& image, Changes& changes, std::uint32_t order,
                                                       base::Progress& progress);

// The owners of all clusters, those of the refcounts included. Error usage: the image has other faults than refcounts
// that are too high.
[[nodiscard]] base::Result<OwnerCounts> count_owners(Image& image, Changes& changes, const Bitmaps& bitmaps);

// Counts all owners and writes refcounts that say so; clears the dirty bit. Error usage: the image has other
// faults than refcounts that are out of date.
[[nodiscard]] base::Result<void> recount(Image& image, Changes& changes, const Bitmaps& bitmaps);

}  // namespace cowvet::engine
