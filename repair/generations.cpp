#include "repair/generations.hpp"

#include <algorithm>
#include <map>
#include <numeric>
#include <unordered_map>

namespace cowvet::repair {

namespace {
constexpr std::uint64_t most_compared = 1U << 20;  // that are compared
}

std::vector<std::uint64_t> lost_tables(const Draft& draft) {
  std::vector<std::uint64_t> tables;
  for (const auto& orphan : draft.verdict().orphans)
    if (!orphan.is_l1) tables.push_back(orphan.cluster << draft.geometry().cluster_bits());
  return tables;
}

std::vector<std::vector<std::size_t>> generations(const Draft& draft, std::span<const std::uint64_t> tables) {
  const auto& g = draft.geometry();
  std::vector<std::size_t> first(tables.size());  // table of the same group, or the table itself
  std::iota(first.begin(), first.end(), std::size_t{0});
  const auto root = [&](std::size_t i) {
    while (first[i] != i) i = first[i];
    return i;
  };
  const std::uint64_t step = std::max<std::uint64_t>(tables.size() * g.l2_entries() / most_compared, 1);
  const auto each = static_cast<std::size_t>(g.l2_entry_size() / 8);
  std::unordered_map<std::uint64_t, std::pair<std::uint64_t, std::size_t>>
      owners;  // of a cluster: entry, table
  for (std::size_t t = 0; t < tables.size(); ++t) {
    const auto bytes = draft.bytes(tables[t], g.cluster_size());
    const base::BigEndianTable<std::uint64_t> words(bytes);
    for (std::uint64_t i = 0; i < g.l2_entries(); i += step) {
      const std::uint64_t word = words[static_cast<std::size_t>(i) * each] & ~format::copied_flag;
      const bool compressed = (word & format::compressed_flag) != 0;
      if (!compressed && (word & format::entry_offset_mask) == 0) continue;
      const auto [known, is_new] =
          owners.try_emplace(compressed ? word : word & format::entry_offset_mask, i, t);
      if (is_new || known->second.first != i) continue;
      const std::size_t a = root(known->second.second), b = root(t);
      first[std::max(a, b)] = std::min(a, b);
    }
  }
  std::map<std::size_t, std::vector<std::size_t>> groups;
  for (std::size_t t = 0; t < tables.size(); ++t) groups[root(t)].push_back(t);
  std::vector<std::vector<std::size_t>> list;
  for (auto& [_, group] : groups) list.push_back(std::move(group));
  return list;
}

}  // namespace cowvet::repair
