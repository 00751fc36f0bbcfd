// Tables that several L1 indices name: MappingWalk's first pass over the L1 tables, before any L2 table is read.
#include <algorithm>

#include "analyzer/walk.hpp"

namespace cowvet::analyzer {

// L1 entries at one index that name one table; in `times` and `refs` also those of later indices, once they
// were packed.
struct MappingWalk::Naming {
  std::uint64_t table;
  std::uint32_t index, tree, refs, times;

  // Sorts by table and index, and puts together what comes after the first few places of a table.
  static void pack(std::vector<Naming>& seen) {
    constexpr std::uint32_t most_places = 16;
    std::ranges::sort(seen, {}, [](const Naming& n) { return std::pair(n.table, n.index); });
    std::size_t kept = 0;
    std::uint32_t places = 0;
    for (const Naming& n : seen) {
      const bool same = kept > 0 && seen[kept - 1].table == n.table;
      places = same ? places + 1 : 1;
      if (places <= most_places) {
        seen[kept++] = n;
        continue;
      }
      auto& last = seen[kept - 1];
      last.refs = static_cast<std::uint32_t>(
          std::min<std::uint64_t>(std::uint64_t{last.refs} + n.refs, Label::max_refs));
      last.times += n.times;
    }
    seen.resize(kept);
  }
};

// Tables that more than one index names. In rounds when there are very many tables, so that memory stays bounded.
base::Result<void> MappingWalk::find_repeats() {
  constexpr std::size_t most_at_once = 1U << 19;  // 12 MiB
  constexpr std::uint64_t most_rounds = 1024;
  std::uint64_t entries = 0;  // at most so many are seen: a small image takes little
  for (const auto& tree : trees_) entries = base::saturating_add(entries, tree.entries);
  std::vector<Naming> seen;
  seen.reserve(static_cast<std::size_t>(std::min<std::uint64_t>(most_at_once, entries)));
  for (std::uint64_t rounds = 1, round = 0; round < rounds;) {
    seen.clear();
    bool overflow = false;
    if (round == 0) tables_ = 0;
    auto done = for_each_slice([&](const Slice& slice) -> base::Result<void> {
      const std::uint64_t step = indices_at_once();
      for (std::uint64_t at = slice.first; at < slice.end && !overflow; at += step)
        for (const auto& group : groups_of(slice, at, std::min(slice.end, at + step), nullptr))
          for (const auto& use : group.uses) {
            tables_ += round == 0 ? 1U : 0U;
            if ((use.table.raw() >> rules_.geometry.cluster_bits()) % rounds != round) continue;
            if (seen.size() == most_at_once && !overflow) {
              Naming::pack(seen);
              // Where packing gains little, packing again and again would cost more than another round.
              overflow = seen.size() > most_at_once / 4 * 3;
            }
            if (!overflow)
              seen.push_back({use.table.raw(), static_cast<std::uint32_t>(group.l1_index), use.trees.front(),
                              use.refs, 1});
          }
      return {};
    });
    if (!done) return done;
    if (image_.progress.stop_requested()) return base::fail(base::ErrorKind::cancelled, "stopped on request");
    if (overflow && rounds < most_rounds) {
      repeats_.clear();
      places_.clear();
      rounds *= 4;
      round = 0;
      continue;
    }
    keep_repeats(seen);
    ++round;
  }
  std::ranges::sort(repeats_, {}, &Repeat::table);
  return {};
}

void MappingWalk::keep_repeats(std::vector<Naming>& seen) {
  Naming::pack(seen);
  for (std::size_t i = 0; i < seen.size();) {
    const std::size_t begin = i;
    std::uint64_t refs = 0;
    Repeat repeat{.table = base::HostOffset{seen[i].table},
                  .first_place = static_cast<std::uint32_t>(places_.size())};
    for (; i < seen.size() && seen[i].table == seen[begin].table; ++i) {
      refs += seen[i].refs;
      repeat.times += seen[i].times;
    }
    if (i - begin == 1) continue;
    for (const auto& n : std::span(seen).subspan(begin, i - begin)) places_.push_back({n.index, n.tree});
    repeat.refs = static_cast<std::uint32_t>(std::min<std::uint64_t>(refs, Label::max_refs));
    repeat.place_count = static_cast<std::uint32_t>(i - begin);
    tables_ -= repeat.times - 1;
    repeats_.push_back(repeat);
  }
}

const MappingWalk::Repeat* MappingWalk::repeat_of(base::HostOffset table) const {
  const auto it = std::ranges::lower_bound(repeats_, table, {}, &Repeat::table);
  return it != repeats_.end() && it->table == table ? &*it : nullptr;
}

}  // namespace cowvet::analyzer
