#include "engine/mapping_tree.hpp"

#include <fmt/format.h>

namespace cowvet::engine {

namespace {
constexpr std::uint64_t all = ~0ULL;
}

base::Result<TablePointer> MappingTree::table(std::uint64_t word) const {
  const format::L1Entry entry{word};
  if (entry.offset().raw() == 0) return nullptr;
  if (entry.reserved() != 0 || !image_.geometry().aligned(entry.offset()))
    return base::fail(base::ErrorKind::usage,
                      fmt::format("the L1 entry {:#x} can't be right: run cowvet check first", word));
  return image_.tables.get(TableKind::l2, entry.offset());
}

base::Result<void> MappingTree::walk(const std::vector<std::uint64_t>& l1, const Visit& visit,
                                     std::uint64_t most, std::uint64_t& done) {
  const auto& g = image_.geometry();
  for (const auto word : l1) {
    const auto l2 = table(word);
    if (!l2) return std::unexpected(l2.error());
    if (*l2 == nullptr) continue;
    for (std::uint64_t i = 0; i < g.l2_entries(); ++i) {
      const auto owned = changes_.owned_by(image_.rules.load(**l2, i));
      if (owned.count == 0) continue;
      if (done == most) return {};
      if (auto visited = visit(owned); !visited) return visited;
      ++done;
    }
    if (done == most) return {};
    if (auto visited = visit({(*l2)->at().raw() >> g.cluster_bits(), 1}); !visited) return visited;
    ++done;
    if (auto relieved = changes_.relieve(); !relieved) return relieved;
  }
  return {};
}

base::Result<void> MappingTree::raise(const std::vector<std::uint64_t>& l1) {
  std::uint64_t done = 0;
  auto raised = walk(l1, [&](Clusters c) { return changes_.refcounts().raise(c); }, all, done);
  if (raised) return raised;
  std::uint64_t undone = 0;
  (void)walk(
      l1, [&](Clusters c) { return changes_.refcounts().lower(c); }, done, undone);  // at worst too high
  return raised;
}

base::Result<void> MappingTree::lower(const std::vector<std::uint64_t>& l1) {
  std::uint64_t done = 0;
  return walk(l1, [&](Clusters c) { return changes_.refcounts().lower(c); }, all, done);
}

base::Result<void> MappingTree::clear_copied(const std::vector<std::uint64_t>& l1) {
  const bool active = &l1 == &image_.l1;
  for (std::size_t i = 0; i < l1.size(); ++i) {
    const auto l2 = table(l1[i]);
    if (!l2) return std::unexpected(l2.error());
    if (*l2 == nullptr) continue;
    if (active && format::L1Entry{l1[i]}.copied()) changes_.set_l1(i, l1[i] & ~format::copied_flag);
    for (std::uint64_t j = 0; j < image_.geometry().l2_entries(); ++j) {
      auto slot = image_.rules.load(**l2, j);
      if (!slot.entry.copied()) continue;
      slot.entry.word &= ~format::copied_flag;
      changes_.set_slot(*l2, j, slot);
    }
    if (auto relieved = changes_.relieve(); !relieved) return relieved;
  }
  return {};
}

base::Result<void> MappingTree::set_copied() {
  const auto& g = image_.geometry();
  for (std::size_t i = 0; i < image_.l1.size(); ++i) {
    const auto word = image_.l1[i];
    const auto l2 = table(word);
    if (!l2) return std::unexpected(l2.error());
    if (*l2 == nullptr) continue;
    const auto owners = changes_.refcounts().get((*l2)->at().raw() >> g.cluster_bits());
    if (!owners) return std::unexpected(owners.error());
    if (*owners != 1) continue;  // what is behind a shared table is shared as well
    if ((word & format::copied_flag) == 0) changes_.set_l1(i, word | format::copied_flag);
    for (std::uint64_t j = 0; j < g.l2_entries(); ++j) {
      auto slot = image_.rules.load(**l2, j);
      if (slot.entry.compressed() || slot.entry.copied() || slot.entry.offset().raw() == 0) continue;
      const auto count = changes_.refcounts().get(slot.entry.offset().raw() >> g.cluster_bits());
      if (!count) return std::unexpected(count.error());
      if (*count != 1) continue;
      slot.entry.word |= format::copied_flag;
      changes_.set_slot(*l2, j, slot);
    }
    if (auto relieved = changes_.relieve(); !relieved) return relieved;
  }
  return {};
}

}  // namespace cowvet::engine
