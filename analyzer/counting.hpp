// Counts every reference of a walk into a label map: the part that all walks for refcounts share.
#pragma once
#include <algorithm>

#include "analyzer/labels.hpp"
#include "analyzer/walk.hpp"

namespace cowvet::analyzer {

class CountingVisitor : public Visitor {
 public:
  CountingVisitor(const MappingWalk& walk, LabelMap& labels)
      : walk_(walk), geometry_(walk.rules().geometry), labels_(labels) {}

  void group(const Group& group, unsigned) override {
    if (std::ranges::none_of(group.uses, &TableUse::first)) return;
    LabelMap::Session session(labels_);
    for (const auto& use : group.uses) {
      if (!use.first) continue;
      const std::uint64_t cluster = geometry_.cluster_of(use.table).raw();
      session.add(cluster, 1, {Kind::l2, use.refs_here});
      // All later indices at once: of a table that every index names, the threads would wait for each other.
      if (use.refs > use.refs_here) session.add(cluster, 1, {Kind::l2, use.refs - use.refs_here});
    }
  }
  void owned(const Group&, std::span<const Owned> items, unsigned) override {
    LabelMap::Session session(labels_);
    for (const auto& item : items) {
      const bool compressed = item.run.type == EntryType::compressed;
      if (!compressed && walk_.rules().external_data) continue;
      const auto [first, count] = host_clusters(item.run, geometry_);
      session.add(first, count, {compressed ? Kind::compressed : Kind::data, item.refs});
    }
  }

 protected:
  [[nodiscard]] const MappingWalk& walk() const { return walk_; }
  [[nodiscard]] const format::Geometry& geometry() const { return geometry_; }

 private:
  const MappingWalk& walk_;
  const format::Geometry geometry_;
  LabelMap& labels_;
};

}  // namespace cowvet::analyzer
