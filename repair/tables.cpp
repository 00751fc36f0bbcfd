#include "repair/tables.hpp"

#include <unordered_set>

#include <fmt/format.h>

#include "analyzer/info.hpp"

namespace cowvet::repair {

std::uint64_t mapped_end(const L1Table& l1, const format::Geometry& g) {
  return l1.id.empty() ? l1.disk : std::max(l1.disk, l1.entries * g.span());
}

std::vector<L1Table> l1_tables(const Draft& draft) {
  std::vector<L1Table> tables;
  const auto& header = draft.header();
  const auto add = [&](L1Table table) {
    const std::uint64_t size = draft.image().size();
    if (!draft.geometry().aligned(base::HostOffset{table.offset}) || table.offset == 0 ||
        table.offset >= size)
      return;
    table.entries = std::min<std::uint64_t>(table.entries, format::limits::max_l1_entries);
    table.entries = std::min(table.entries, (size - table.offset) / 8);
    tables.push_back(std::move(table));
  };
  add({.prefix = "",
       .id = "",
       .offset = header.v2.l1_table_offset.raw(),
       .entries = header.v2.l1_size,
       .disk = header.v2.size});
  std::size_t index = 0;
  for (const auto& s : analyzer::read_snapshots(draft.image(), header))
    add({.prefix = fmt::format("snapshot[{}].", index++),
         .id = s.id,
         .offset = s.entry.l1_table_offset.raw(),
         .entries = s.entry.l1_size,
         .disk = s.disk_size_bytes().value_or(header.v2.size)});
  return tables;
}

base::Result<void> read_as_zeros(Draft& draft, Action& action, std::uint64_t at) {
  const bool v3 = draft.header().has_v3();
  const bool below = draft.verdict().backing_name.has_value();
  // What says so already goes on to.
  if (draft.geometry().extended_l2()) {
    const format::Subclusters parts{draft.word(at + 8)};
    const std::uint64_t stored = parts.word != 0 ? parts.allocated() : 0xffffffff;  // no word: of a new entry
    if (auto done = draft.put_word(action, at, 0); !done) return done;
    return draft.put_word(action, at + 8, (parts.zero() | (below ? stored : 0)) << 32);
  }
  return draft.put_word(action, at, (v3 && below) || reads_as_zeros(draft, at) ? format::zero_flag : 0);
}

bool reads_as_zeros(const Draft& draft, std::uint64_t at) {
  const format::L2Entry entry{draft.word(at)};
  return draft.header().has_v3() && !draft.geometry().extended_l2() && !entry.compressed() && entry.zero();
}

std::uint64_t L2Table::word(const format::Geometry& g, std::uint64_t entry) const {
  return base::load_be<std::uint64_t, 0>(
      bytes.subspan(static_cast<std::size_t>(entry * g.l2_entry_size())).first<8>());
}

void for_each_table(const Draft& draft, const std::function<void(const L2Table&)>& use) {
  const auto& g = draft.geometry();
  std::unordered_set<std::uint64_t> seen;
  std::vector<std::byte> bytes(static_cast<std::size_t>(g.cluster_size()));
  for (const auto& l1 : l1_tables(draft))
    for_each_entry(draft, l1, [&](std::uint64_t index, format::L1Entry entry) {
      const auto offset = entry.offset();
      if (entry.reserved() != 0 || !g.aligned(offset) ||
          offset.raw() + g.cluster_size() > draft.image().size() || !seen.insert(offset.raw()).second)
        return;
      (void)draft.image().read(offset.raw(), bytes);
      use({.l1 = l1, .l1_index = index, .offset = offset.raw(), .bytes = bytes});
    });
}

void for_each_entry(const Draft& draft, const L1Table& l1,
                    const std::function<void(std::uint64_t, format::L1Entry)>& use) {
  constexpr std::uint64_t piece = 1U << 13;  // entries that are read at once
  for (std::uint64_t first = 0; first < l1.entries;) {
    const std::uint64_t at = l1.offset + first * 8;
    if (const auto extent = draft.image().extent(at); extent.hole && extent.end >= at + 8) {
      first += (extent.end - at) / 8;
      continue;
    }
    const std::uint64_t count = std::min(piece, l1.entries - first);
    const auto read = draft.bytes(at, count * 8);
    const base::BigEndianTable<std::uint64_t> words(read);
    for (std::uint64_t i = 0; i < count; ++i)
      if (const format::L1Entry entry{words[static_cast<std::size_t>(i)]}; entry.offset().raw() != 0)
        use(first + i, entry);
    first += count;
  }
}

}  // namespace cowvet::repair
