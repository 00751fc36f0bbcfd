// Findings about entries of L1 and L2 tables, said the same way by every check: the entry's path and bytes,
// what it says, and the guest ranges behind it in every layer that uses it. A finding that would only be
// counted is not built.
#pragma once
#include <functional>
#include <string>

#include "analyzer/image.hpp"
#include "analyzer/naming.hpp"
#include "analyzer/walk.hpp"
#include "findings/rule.hpp"

namespace cowvet::analyzer {

class EntryFindings {
 public:
  // Says more of a finding, when it is built; none: nothing more to say.
  using Detail = std::function<std::string()>;
  EntryFindings(Image& image, const std::vector<Tree>& trees)
      : image_(image), geometry_(*image.geometry), naming_(image, trees), trees_(trees) {}

  // Entry `index` of a layer's L1 table.
  void l1(findings::RuleId rule, const Tree& tree, std::uint64_t index, format::L1Entry entry,
          const Detail& detail = {});
  // The entries of a run in one L2 table; milder: with the rule's lesser severity.
  void l2(findings::RuleId rule, const Group& group, const TableUse& use, const EntryRun& run,
          bool milder = false, const Detail& detail = {});
  [[nodiscard]] base::GuestOffset guest_of(const Group& group, std::uint32_t entry) const;
  [[nodiscard]] const Naming& naming() const { return naming_; }

 private:
  Image& image_;
  const format::Geometry geometry_;
  Naming naming_;
  const std::vector<Tree>& trees_;
};

}  // namespace cowvet::analyzer
