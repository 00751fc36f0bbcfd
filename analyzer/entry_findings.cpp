#include "analyzer/entry_findings.hpp"

#include <array>
#include <span>
#include <utility>

#include <fmt/format.h>

namespace cowvet::analyzer {

using base::GuestOffset;
using base::HostOffset;
using findings::Finding;
using findings::RuleId;
using findings::Value;

GuestOffset EntryFindings::guest_of(const Group& group, std::uint32_t entry) const {
  return GuestOffset{group.l1_index * geometry_.span() + (std::uint64_t{entry} << geometry_.cluster_bits())};
}

void EntryFindings::l1(RuleId rule, const Tree& tree, std::uint64_t index, format::L1Entry entry,
                       const Detail& detail) {
  const HostOffset place{tree.l1.raw() + index * 8};
  const GuestOffset guest{base::saturating_mul(index, geometry_.span())};
  if (image_.findings.only_counts(rule, {place, guest}, rule->severity)) return;
  Finding f{rule};
  f.where = naming_.l1_entry(tree, index);
  f.host = {place, 8};
  f.snapshot = naming_.layer(tree);
  f.actual = Value::hex(entry.word);
  if (detail) f.detail = detail();
  naming_.put_guest(f, tree, guest, geometry_.span());
  image_.report(std::move(f));
}

void EntryFindings::l2(RuleId rule, const Group& group, const TableUse& use, const EntryRun& run, bool milder,
                       const Detail& detail) {
  const auto guest = guest_of(group, run.first);
  const HostOffset place{use.table.raw() + run.first * geometry_.l2_entry_size()};
  const auto severity = milder ? rule->lesser : rule->severity;
  if (image_.findings.only_counts(rule, {place, guest}, severity, run.count)) return;
  Finding f{rule};
  f.severity = severity;
  f.where = naming_.l2_entry(group, use, run.first);
  if (run.count > 1) f.where += fmt::format("..[{}]", run.first + run.count - 1);
  f.host = {place, run.count * geometry_.l2_entry_size()};
  f.snapshot = naming_.layer(trees_[use.trees.front()]);
  f.count = run.count;
  if (detail) f.detail = detail();
  std::array<std::byte, 8> word;
  if (image_.device.read(place.raw(), word).valid == word.size())
    f.actual = Value::hex(base::load_be<std::uint64_t, 0>(std::span<const std::byte, 8>(word)));
  naming_.put_guest(f, use, guest, std::uint64_t{run.count} << geometry_.cluster_bits());
  image_.report(std::move(f));
}

}  // namespace cowvet::analyzer
