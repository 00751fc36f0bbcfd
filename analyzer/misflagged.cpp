#include "analyzer/misflagged.hpp"

#include <atomic>

#include <fmt/format.h>

#include "analyzer/counting.hpp"

namespace cowvet::analyzer {

using namespace findings::literals;
using findings::Finding;
using findings::Value;

namespace {

constexpr std::uint64_t trial_budget = 8ULL << 20;  // bytes for labels; larger images get no second opinion

// Counts as the check proper does, without judging.
class Trial final : public CountingVisitor {
 public:
  using CountingVisitor::CountingVisitor;
  void table(const Group&, const TableUse&, const Table& table, unsigned) override {
    for (const auto& run : table.runs) {
      problems_ += run.problems != 0 ? 1U : 0U;
      entries_ += run.type == EntryType::data ? run.count : 0;
    }
  }
  [[nodiscard]] bool sound() const { return problems_ == 0 && entries_ != 0; }

 private:
  std::atomic<std::uint64_t> problems_{0};
  std::atomic<std::uint64_t> entries_{0};
};

// Whether every entry is valid and every refcount right when the entries are read like this.
bool adds_up(Image& image, const MetadataMap& metadata, Refcounts& refcounts, const ScanRules& rules,
             unsigned jobs) {
  auto labels = LabelMap::make(base::divide_up(image.eof, rules.geometry.cluster_size()), trial_budget);
  if (!labels) return false;
  metadata.label(**labels, rules.geometry);
  refcounts.label_blocks(**labels);
  MappingWalk walk(image, metadata, jobs, rules);
  Trial trial(walk, **labels);
  return walk.run(trial) && trial.sound() && labels.value()->window_end() == labels.value()->clusters() &&
         refcounts.compare(**labels, jobs, Refcounts::Voice::quiet).wrong == 0;
}

}  // namespace

void check_misflagged(Image& image, const MetadataMap& metadata, Refcounts& refcounts, std::uint64_t wrong,
                      unsigned jobs) {
  if (wrong == 0 || !image.header.has_v3()) return;
  const auto stored = rules_of(image);
  const auto try_it = [&](findings::RuleId rule, const ScanRules& rules, bool set) {
    if (!adds_up(image, metadata, refcounts, rules, jobs)) return;
    image.doubt("the entries are read in the wrong way");
    Finding f{rule};
    f.where = "header.incompatible_features";
    f.host = {base::HostOffset{format::disk_size<format::HeaderV2>}, 8};
    f.expected = Value::text(set ? "bit set" : "bit clear");
    f.actual = Value::hex(image.header.v3.incompatible_features);
    f.guest.push_back({base::GuestOffset{0}, image.header.v2.size, ""});
    f.detail = fmt::format(
        "with the bit {} every entry is valid and every refcount right; as it is, {} clusters are miscounted",
        set ? "set" : "clear", wrong);
    image.report(std::move(f));
  };
  const auto& g = stored.geometry;
  if (const auto other = format::Geometry::make(g.cluster_bits(), g.refcount_order(), !g.extended_l2())) {
    auto rules = stored;
    rules.geometry = *other;
    try_it("feature/extl2-misflagged"_rule, rules, !g.extended_l2());
  }
  auto rules = stored;
  rules.external_data = !stored.external_data;
  try_it("feature/data-file-misflagged"_rule, rules, rules.external_data);
}

}  // namespace cowvet::analyzer
