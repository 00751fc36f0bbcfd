#include "analyzer/naming.hpp"

#include <algorithm>

#include <fmt/format.h>

namespace cowvet::analyzer {

namespace {
constexpr std::size_t most_layers_named = 8;
}

std::string Naming::l1_table(const Tree& tree) const {
  return tree.active ? std::string("l1") : image_.snapshots[tree.snapshots.front()].where() + ".l1";
}

std::string Naming::l1_entry(const Tree& tree, std::uint64_t index) const {
  return fmt::format("{}[{}]", l1_table(tree), index);
}

std::string Naming::l2_table(const Group& group, const TableUse& use) const {
  return l1_entry(trees_[use.trees.front()], group.l1_index) + ".l2";
}

std::string Naming::l2_entry(const Group& group, const TableUse& use, std::uint32_t entry) const {
  return fmt::format("{}[{}]", l2_table(group, use), entry);
}

std::string Naming::layer(const Tree& tree) const {
  return tree.active ? std::string() : image_.snapshots[tree.snapshots.front()].data.id;
}

void Naming::put_guest(findings::Finding& finding, const Tree& tree, base::GuestOffset begin,
                       std::uint64_t length) const {
  // Of a table that reaches over the end of the disk, the disk's part counts; what begins behind the end is VM state.
  if (begin.raw() < tree.disk_size) length = std::min(length, tree.disk_size - begin.raw());
  if (tree.active) finding.guest.push_back({begin, length, ""});
  for (const auto s : tree.snapshots) {
    if (finding.guest.size() >= most_layers_named) return;
    finding.guest.push_back({begin, length, image_.snapshots[s].data.id});
  }
}

void Naming::put_guest(findings::Finding& finding, const TableUse& use, base::GuestOffset begin,
                       std::uint64_t length) const {
  for (const auto t : use.trees) put_guest(finding, trees_[t], begin, length);
}

}  // namespace cowvet::analyzer
