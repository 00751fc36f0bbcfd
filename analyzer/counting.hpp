// Counts every reference of a walk into a label map: the part that all walks for refcounts share.
#pragma once
#include "analyzer/labels.hpp"
#include "analyzer/walk.hpp"

namespace cowvet::analyzer {

class CountingVisitor : public Visitor {
 public:
  CountingVisitor(const MappingWalk& walk, LabelMap& labels)
      : walk_(walk), geometry_(walk.rules().geometry), labels_(labels) {}

  void group(const Group& group, unsigned) override {
    LabelMap::Session session(labels_);
    for (const auto& use : group.uses)
      session.add(geometry_.cluster_of(use.table).raw(), 1, {Kind::l2, use.refs_here});
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
