#include "analyzer/copied_flags.hpp"

#include "analyzer/entry_findings.hpp"

namespace cowvet::analyzer {

using namespace findings::literals;

namespace {

class ClearFlags final : public Visitor {
 public:
  ClearFlags(Image& image, const MappingWalk& walk, const LabelMap& labels, const Refcounts& refcounts)
      : walk_(walk),
        labels_(labels),
        refcounts_(refcounts),
        geometry_(*image.geometry),
        findings_(image, walk.trees()) {}

  void l1_entry(const Tree& tree, std::uint32_t, std::uint64_t index, format::L1Entry entry) override {
    if (!tree.active || entry.copied() || !walk_.leads_to_table(entry)) return;
    const std::uint64_t cluster = geometry_.cluster_of(entry.offset()).raw();
    if (exclusive(cluster, Kind::l2)) findings_.l1("l1/copied-clear-exclusive"_rule, tree, index, entry);
  }
  void owned(const Group& group, std::span<const Owned> items, unsigned) override {
    if (walk_.rules().external_data) return;  // there the bit says something else
    for (const auto& item : items) {
      if (!item.active || item.run.copied || item.refs != 1 || item.run.type == EntryType::compressed)
        continue;
      EntryRun clear{};  // the entries that are reported next
      for (std::uint32_t i = 0; i < item.run.count; ++i) {
        const std::uint64_t host = item.run.host + (std::uint64_t{i} << geometry_.cluster_bits());
        if (!exclusive(host >> geometry_.cluster_bits(), Kind::data)) {
          flush(group, item, clear);
          continue;
        }
        if (clear.count == 0) {
          clear = item.run;
          clear.first += i;
          clear.count = 0;
          clear.host = host;
        }
        ++clear.count;
      }
      flush(group, item, clear);
    }
  }

 private:
  void flush(const Group& group, const Owned& item, EntryRun& clear) {
    if (clear.count != 0) findings_.l2("l2/copied-clear-exclusive"_rule, group, group.uses[item.use], clear);
    clear.count = 0;
  }
  [[nodiscard]] bool exclusive(std::uint64_t cluster, Kind kind) const {
    return labels_.at(cluster) == Label{kind, 1} && refcounts_.stored(cluster) == 1;
  }

  const MappingWalk& walk_;
  const LabelMap& labels_;
  const Refcounts& refcounts_;
  const format::Geometry geometry_;
  EntryFindings findings_;
};

}  // namespace

base::Result<void> report_clear_copied(Image& image, MappingWalk& walk, const LabelMap& labels,
                                       const Refcounts& refcounts) {
  ClearFlags flags(image, walk, labels, refcounts);
  return walk.run(flags);
}

}  // namespace cowvet::analyzer
