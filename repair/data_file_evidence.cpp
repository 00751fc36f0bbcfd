#include "repair/data_file_evidence.hpp"

#include <algorithm>
#include <vector>

#include "format/entries.hpp"
#include "repair/tables.hpp"

namespace cowvet::repair {

using namespace findings::literals;

std::optional<std::uint64_t> disk_in_data_file(const Draft& draft) {
  constexpr std::uint64_t enough_tables = 256, enough_entries = 4;
  const auto& g = draft.geometry();
  const std::uint64_t eof = draft.image().size();
  std::vector<std::uint64_t> tables;
  // Read as those of another image, such tables do not look like any: every lost cluster may be one.
  for (const auto rule : {"refcount/leak"_rule, "refcount/leak-holds-table"_rule})
    for (const auto& f : draft.found(rule))
      for (std::uint64_t at = 0; f.host && at < f.host->length && tables.size() < enough_tables;
           at += g.cluster_size())
        tables.push_back(f.host->begin.raw() + at);
  for (const auto& l1 : l1_tables(draft))
    if (l1.prefix.empty())
      for_each_entry(draft, l1, [&](std::uint64_t, format::L1Entry entry) {
        const std::uint64_t l2 = entry.offset().raw();
        if (tables.size() < enough_tables && l2 < eof && l2 % g.cluster_size() == 0) tables.push_back(l2);
      });
  std::uint64_t entries = 0, in_step = 0, behind = 0, last = 0;
  for (const auto table : tables) {
    const auto bytes = draft.bytes(table, g.cluster_size());
    const base::BigEndianTable<std::uint64_t> words(bytes);
    const auto stride = static_cast<std::size_t>(g.l2_entry_size() / 8);
    for (std::size_t i = 0; i < words.size(); i += stride) {
      const format::L2Entry entry{words[i]};
      if (entry.word == 0 || entry.compressed()) continue;
      const std::uint64_t cluster = entry.offset().raw() >> g.cluster_bits();
      ++entries;
      const bool fits = entry.copied() && cluster % g.l2_entries() == i / stride;
      in_step += fits ? 1U : 0U;
      if (fits) last = std::max(last, cluster / g.l2_entries());
      behind += entry.offset().raw() >= eof ? 1U : 0U;
    }
  }
  constexpr std::uint64_t tolerance = 8;  // one entry in so many may be damaged
  if (entries < enough_entries || behind == 0 || entries - in_step > entries / tolerance) return std::nullopt;
  return std::min((last + 1) * g.span(), format::limits::max_virtual_size);
}

}  // namespace cowvet::repair
