#include "repair/l1_search.hpp"

#include <algorithm>
#include <tuple>

#include "format/entries.hpp"
#include "repair/bitmap_entry.hpp"
#include "repair/owned_clusters.hpp"

namespace cowvet::repair {

using namespace findings::literals;

namespace {

constexpr std::uint64_t most_searched_entries = 1U << 20;  // of a table that is looked for
constexpr std::uint64_t most_judged_tables = 4096;         // that are read to judge a table
constexpr std::uint64_t piece = 512;                       // entries that are read at once

// Its first word leads to a table, as an L1 table's would.
bool is_bitmap_directory(const Draft& draft, std::uint64_t offset) {
  const auto step = format::parse_bitmap(draft.bytes(offset, draft.geometry().cluster_size()), 0);
  return step.bitmap && is_bitmap_entry(*step.bitmap, draft.geometry(), draft.image().size());
}

L1Candidate judge(const Draft& draft, std::uint64_t offset, std::uint64_t entries) {
  const auto& g = draft.geometry();
  const std::uint64_t eof = draft.image().size();
  L1Candidate candidate{.offset = offset};
  std::uint64_t named = 0, empty = 0;
  if (entries == 0 || entries > most_searched_entries || offset == 0 || offset % g.cluster_size() != 0 ||
      offset >= eof || entries * 8 > eof - offset)
    return candidate;
  for (std::uint64_t i = 0; i < entries; i += piece) {
    const auto bytes = draft.bytes(offset + i * 8, std::min(piece, entries - i) * 8);
    const base::BigEndianTable<std::uint64_t> words(bytes);
    for (std::size_t k = 0; k < words.size(); ++k) {
      const std::uint64_t word = words[k], table = word & format::entry_offset_mask;
      if (word == 0) continue;
      const bool possible = (word & format::l1_word.reserved_mask) == 0 && table != 0 &&
                            table % g.cluster_size() == 0 && table < eof;
      if (!possible) return {.offset = offset};
      candidate.copied += (word & format::copied_flag) != 0 ? 1U : 0U;
      if (++named > most_judged_tables) continue;
      const auto l2 = draft.bytes(table, g.cluster_size());
      if (l2_looks(l2, g, eof).is_one())
        ++candidate.tables;
      else if (base::all_zero(l2))
        ++empty;
    }
  }
  // An L2 table's entries look the same, and some of the data that they lead to may look like a table.
  if ((candidate.tables + empty) * 2 < std::min(named, most_judged_tables)) return {.offset = offset};
  return candidate;
}

}  // namespace

bool cut_off(const Draft& draft, std::uint64_t offset, std::uint64_t entries) {
  const std::uint64_t eof = draft.image().size();
  if (offset >= eof || entries == 0 || entries > most_searched_entries || entries * 8 > eof - offset)
    return false;
  const auto bytes = draft.bytes(offset, entries * 8);
  const base::BigEndianTable<std::uint64_t> words(bytes);
  bool behind = false;
  for (std::size_t i = 0; i < words.size(); ++i) {
    const std::uint64_t table = words[i] & format::entry_offset_mask;
    if (words[i] == 0) continue;
    if ((words[i] & format::l1_word.reserved_mask) != 0 || table % draft.geometry().cluster_size() != 0)
      return false;
    behind = behind || table >= eof;
  }
  return behind;
}

std::uint64_t tables_behind(const Draft& draft, std::uint64_t offset, std::uint64_t entries) {
  return judge(draft, offset, entries).tables;
}

std::span<const findings::RuleId> l1_astray() {
  static constexpr findings::RuleId list[] = {
      "header/l1-offset-unaligned"_rule, "header/l1-offset-overflow"_rule, "header/l1-offset-zero"_rule,
      "header/l1-size-limit"_rule,       "l1/table-past-eof"_rule,         "overlap/active-l1"_rule};
  return list;
}

std::span<const findings::RuleId> strange_entries() {
  static constexpr findings::RuleId list[] = {"l2/table-implausible"_rule,  "l1/entry-reserved"_rule,
                                              "l1/entry-unaligned"_rule,    "l1/entry-past-eof"_rule,
                                              "l1/points-at-metadata"_rule, "l1/copied-without-offset"_rule};
  return list;
}

const findings::Finding* strange_behind(const Draft& draft, std::string_view where, std::uint64_t needed) {
  for (const auto rule : strange_entries())
    for (const auto& f : draft.found(rule)) {
      if (!std::string_view(f.where).starts_with(where)) continue;
      // "l1[1].l2" is a table, and the entry names it.
      const auto entry = draft.entry(std::string_view(f.where).substr(0, f.where.find(".l2")));
      if (entry && entry->l1_index >= needed) return &f;
    }
  return nullptr;
}

std::optional<L1Candidate> search_l1(const Draft& draft, std::uint64_t entries) {
  std::optional<L1Candidate> best;
  bool several = false;
  const std::uint64_t cluster = draft.geometry().cluster_size();
  const auto rank = [](const L1Candidate& c) { return std::tuple(c.tables, c.copied); };
  for (const auto rule : {"refcount/leak"_rule, "refcount/leak-holds-table"_rule})
    for (const auto& f : draft.found(rule)) {
      if (!f.host) continue;
      for (std::uint64_t at = f.host->begin.raw(); at < f.host->begin.raw() + f.host->length; at += cluster) {
        const auto candidate = judge(draft, at, entries);
        if (candidate.tables == 0 || is_bitmap_directory(draft, at) ||
            (best && rank(candidate) < rank(*best)))
          continue;
        several = best && best->offset != at && rank(candidate) == rank(*best);
        best = candidate;
      }
    }
  return several ? std::nullopt : best;
}

}  // namespace cowvet::repair
