// What owns each of given clusters: one more walk that looks for those clusters only. Promises: the answer does not
// depend on how much of the file fits into the map of labels; a byte and a number a cluster.
#pragma once
#include <atomic>
#include <memory>
#include <vector>

#include "analyzer/labels.hpp"
#include "analyzer/walk.hpp"

namespace cowvet::analyzer {

class ClusterKinds final : public Visitor {
 public:
  ClusterKinds(MappingWalk& walk, const MetadataMap& metadata, std::vector<std::uint64_t> clusters);
  [[nodiscard]] base::Result<void> collect();

  // The owner's kind, Kind::contested with several that exclude each other, Kind::free without one. The cluster is one
  // of those that were given.
  [[nodiscard]] Kind of(std::uint64_t cluster) const;

  void group(const Group& group, unsigned worker) override;
  void owned(const Group& group, std::span<const Owned> items, unsigned worker) override;

 private:
  void add(std::uint64_t first, std::uint64_t count, Kind kind);

  MappingWalk& walk_;
  const MetadataMap& metadata_;
  const format::Geometry geometry_;
  std::vector<std::uint64_t> clusters_;                 // ascending
  std::unique_ptr<std::atomic<std::uint8_t>[]> kinds_;  // by position in clusters_
};

}  // namespace cowvet::analyzer
