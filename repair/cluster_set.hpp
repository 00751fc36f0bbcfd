// A set of host clusters: a bit for each cluster of the file.
#pragma once
#include <cstdint>
#include <vector>

#include "base/checked.hpp"

namespace cowvet::repair {

class ClusterSet {
 public:
  explicit ClusterSet(std::uint64_t clusters)
      : bits_(static_cast<std::size_t>(base::divide_up(clusters, 64))) {}
  void add(std::uint64_t cluster) {
    if (cluster / 64 < bits_.size()) bits_[static_cast<std::size_t>(cluster / 64)] |= 1ULL << cluster % 64;
  }
  void add_range(std::uint64_t first, std::uint64_t end) {
    for (; first < end; ++first) add(first);
  }
  [[nodiscard]] bool has(std::uint64_t cluster) const {
    return cluster / 64 < bits_.size() &&
           (bits_[static_cast<std::size_t>(cluster / 64)] >> cluster % 64 & 1) != 0;
  }

 private:
  std::vector<std::uint64_t> bits_;
};

}  // namespace cowvet::repair
