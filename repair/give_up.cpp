// Entries that lead nowhere, when nothing was found that belongs there: they read as zeros from then on, and
// never as the backing file's old content, so that what is lost is not hidden. Promises: needs the consent to
// lose data; each place is told with the guest ranges that are lost.
#include <algorithm>
#include <map>

#include <fmt/format.h>

#include "analyzer/l2_scan.hpp"
#include "format/compression.hpp"
#include "repair/candidates.hpp"
#include "repair/l1_search.hpp"
#include "repair/owned_clusters.hpp"
#include "repair/remedies.hpp"
#include "repair/tables.hpp"
#include "repair/vacancies.hpp"

namespace cowvet::repair {

using namespace findings::literals;
using findings::Consent;

namespace {

constexpr std::string_view clear_l1 = "give up the L2 table that the entry should lead to";
constexpr std::string_view clear_l2 = "give up the cluster's content, which can't be reached";
constexpr std::string_view keep_zeros = "keep the zeros, and forget where they were to be stored";
constexpr std::string_view look_below = "clear the COPIED flag of an entry that stores nothing";
constexpr std::string_view count_sectors = "store the number of sectors that the stream has in the file";
constexpr std::string_view end_table =
    "let the L2 table end with entries that read as zeros, where the file ends";
constexpr std::string_view clear_table = "keep the table's entries that make sense, and give up the others";

// Where the last of the layers ends that have this table at this place of their disks, guest bytes.
std::uint64_t last_end(const Draft& draft, const Vacancy& v) {
  std::uint64_t end = 0;
  for (const auto& l1 : l1_tables(draft))
    if (v.place.l1_index < l1.entries && (draft.word(l1.offset + v.place.l1_index * 8) &
                                          format::entry_offset_mask) == (v.word & format::entry_offset_mask))
      end = std::max(end, mapped_end(l1, draft.geometry()));
  return end;
}

// An L2 table that the end of the file cuts off: the entries that are there stay, and the file goes on up to the
// table's end, with entries that read as zeros. Nothing is lost where all of these lie behind the disk's end.
Remedied complete_table(Draft& draft, const Vacancy& v) {
  const auto& g = draft.geometry();
  const std::uint64_t table = v.word & format::entry_offset_mask, eof = draft.image().size();
  if (table >= eof || table + g.cluster_size() <= eof)
    return {};  // another entry leads there, and it is done
  const std::uint64_t first = (eof - table) / g.l2_entry_size();
  const std::uint64_t guest = v.place.l1_index * g.span() + (first << g.cluster_bits());
  const std::uint64_t end = std::min((v.place.l1_index + 1) * g.span(), last_end(draft, v));
  const bool loses = guest < end || draft.any("l1/alias"_rule);  // which has it at another place, too
  Place place{.where = v.where};
  if (guest < end)
    place.guest = {{base::GuestOffset{guest}, end - guest, v.guest.empty() ? "" : v.guest.front().snapshot}};
  auto* action = draft.may_act(v.rule, loses ? Consent::lossy : Consent::lossless, end_table, place);
  if (action == nullptr) return {};
  if (auto done = draft.resize(*action, table + g.cluster_size()); !done) return done;
  if (!draft.verdict().backing_name) return {};
  for (std::uint64_t i = first; i < g.l2_entries(); ++i)
    if (auto done = read_as_zeros(draft, *action, table + i * g.l2_entry_size()); !done) return done;
  return {};
}

constexpr findings::RuleId compressed[] = {
    "compressed/offset-high-bits"_rule, "compressed/range-past-eof"_rule, "compressed/overlaps-metadata"_rule,
    "compressed/in-data-file-image"_rule};

// A stream that is said to go on behind the file's end, and ends within it: only the number of its sectors is wrong.
Remedied cut_streams(Draft& draft) {
  const auto& g = draft.geometry();
  const auto codec = draft.header().compression();
  if (!codec || draft.header().external_data_file()) return {};
  format::Decoder decoder;
  std::vector<std::byte> out(static_cast<std::size_t>(g.cluster_size()));
  for (const auto& f : draft.found("compressed/range-past-eof"_rule)) {
    const auto place = draft.entry(f.where);
    if (!place || place->l1 || draft.contested(*place)) continue;
    const format::L2Entry entry{draft.word(place->offset)};
    auto range = g.compressed_range(entry);
    const std::uint64_t begin = range.offset.raw(), eof = draft.image().size();
    if (!entry.compressed() || begin >= eof || eof - begin > 2 * g.cluster_size()) continue;
    constexpr std::uint64_t sector = 512;
    range.sectors = (eof - 1) / sector - begin / sector;
    if (decoder.decode(*codec, draft.bytes(begin, eof - begin), out).status != format::Decoded::Status::ok)
      continue;
    auto* action = draft.may_act(f.rule, Consent::lossless, count_sectors,
                                 place_from(f, "the stream decodes, and ends in the file"));
    if (auto done = draft.put_word(*action, place->offset, g.compressed_entry(range).word); !done)
      return done;
  }
  return {};
}

// Whether an L1 entry's place holds an L2 table, and no L1 table, whose entries look the same.
bool leads_to_table(const Draft& draft, std::uint64_t word) {
  const auto& g = draft.geometry();
  const std::uint64_t table = word & format::entry_offset_mask;
  return g.aligned(base::HostOffset{table}) &&
         l2_looks(draft.bytes(table, g.cluster_size()), g, draft.image().size()).is_one() &&
         tables_behind(draft, table, g.cluster_size() / 8) == 0;
}

// An L2 table that says that nothing is left, where its version can say so: an empty one, which may be a hole
// of the file, is taken for a table that was lost, and nothing is freed as long as there is one.
std::vector<std::byte> table_of_zeros(const Draft& draft) {
  const auto& g = draft.geometry();
  std::vector<std::byte> table(static_cast<std::size_t>(g.cluster_size()));
  if (!draft.header().has_v3()) return table;
  const std::uint64_t word = g.extended_l2() ? ~std::uint64_t{0} << 32 : format::zero_flag;
  for (std::size_t at = static_cast<std::size_t>(g.l2_entry_size()) - 8; at < table.size();
       at += static_cast<std::size_t>(g.l2_entry_size()))
    base::store_be<std::uint64_t, 0>(std::span(table).subspan(at).first<8>(), word);
  return table;
}

// Tables that were cut off with the end of the file. While other lost tables are there, which an empty entry could be
// taken for the place of, each entry gets a table that says that nothing is left.
Remedied replace_cut_tables(Draft& draft, std::span<const Vacancy> cut) {
  constexpr std::size_t most = 64;  // tables that are made
  const bool others =
      std::ranges::any_of(draft.verdict().orphans, [](const auto& orphan) { return !orphan.is_l1; });
  if (cut.empty() || !draft.allows(Consent::lossy) || (others && cut.size() > most)) {
    for (const auto& v : cut)
      draft.withhold(v.rule, Consent::lossy, clear_l1, {.where = v.where, .guest = v.guest});
    return {};
  }
  for (const auto& v : cut) {
    std::uint64_t word = 0;
    if (others) {
      const auto room = draft.take(1, v.rule);
      if (!room) return {};
      word = *room | format::copied_flag;
    }
    auto* action = draft.may_act(v.rule, Consent::lossy, clear_l1, {.where = v.where, .guest = v.guest});
    if (word != 0)
      if (auto done = draft.put(*action, word & format::entry_offset_mask, table_of_zeros(draft)); !done)
        return done;
    if (auto done = draft.put_word(*action, v.place.offset, word); !done) return done;
  }
  return {};
}

// A table over which something else was written: entries that can't be right are given up.
Remedied thin_out(Draft& draft, const Vacancy& v) {
  const auto& g = draft.geometry();
  const std::uint64_t table = v.word & format::entry_offset_mask;
  if (draft.contested(EntryPlace{.offset = table})) return {};
  auto bytes = draft.bytes(table, g.cluster_size());
  const analyzer::ScanRules rules{.geometry = g,
                                  .eof = draft.image().size(),
                                  .version2 = !draft.header().has_v3(),
                                  .external_data = draft.header().external_data_file()};
  std::vector<analyzer::EntryRun> runs;
  analyzer::scan_l2(bytes, rules, v.place.l1_index * g.span(), runs);
  const auto strange = [](const analyzer::EntryRun& run) {
    return analyzer::foreign(run) || (run.problems & analyzer::problem::past_eof) != 0;
  };
  // Where nothing is an entry it may be somebody's data, and stays.
  if (std::ranges::all_of(runs, strange)) {
    auto* action = draft.may_act(v.rule, Consent::lossy, clear_l1, {.where = v.where, .guest = v.guest});
    return action == nullptr ? Remedied{} : draft.put_word(*action, v.place.offset, 0);
  }
  auto* action = draft.may_act(v.rule, Consent::lossy, clear_table, {.where = v.where, .guest = v.guest});
  if (action == nullptr) return {};
  for (const auto& run : runs) {
    if (!strange(run)) continue;
    const auto begin = bytes.begin() + static_cast<std::ptrdiff_t>(run.first * g.l2_entry_size());
    std::fill(begin, begin + static_cast<std::ptrdiff_t>(run.count * g.l2_entry_size()), std::byte{0});
  }
  return draft.put(*action, table, bytes);
}

struct NamedTable {
  std::uint64_t index = 0, table = 0;  // of an L1 entry; host offset in bytes
};

// Which of several entries of an L1 table is the owner of the L2 table that they all name: by the user's choice, by
// another layer that has the table at the same place, or by the order of the file, in which writers make
// tables: the only one that keeps it, or the one that the only lost table leaves it to. Nothing when no
// answer is supported. `all`: the L1 table's entries, ascending.
std::optional<std::uint64_t> owner_of_table(const Draft& draft, std::span<const L1Table> layers,
                                            const L1Table& l1, std::span<const NamedTable> all,
                                            std::uint64_t table, std::span<const std::uint64_t> indices) {
  const auto only = [&](auto&& fits) -> std::optional<std::uint64_t> {
    if (std::ranges::count_if(indices, fits) != 1) return std::nullopt;
    return *std::ranges::find_if(indices, fits);
  };
  if (auto chosen = only([&](std::uint64_t i) {
        const std::uint64_t at = l1.offset + i * 8;
        return draft.chosen(at) && !draft.awaits(at);
      }))
    return chosen;
  constexpr std::size_t most_owners = 64, most_layers = 1024;
  if (indices.size() > most_owners) return std::nullopt;
  if (auto known = only([&](std::uint64_t i) {
        return std::ranges::any_of(
            layers.first(std::min(layers.size(), most_layers)), [&](const L1Table& layer) {
              return layer.offset != l1.offset && i < layer.entries &&
                     (draft.word(layer.offset + i * 8) & format::entry_offset_mask) == table;
            });
      }))
    return known;
  const auto ordered = only([&](std::uint64_t i) {
    auto before = std::ranges::lower_bound(all, i, {}, &NamedTable::index), behind = before;
    while (before != all.begin() && before->table == table) --before;
    while (behind != all.end() && behind->table == table) ++behind;
    return (before->table == table || before->table < table) &&
           (behind == all.end() || behind->table > table);
  });
  if (ordered || indices.size() != 2) return ordered;
  // The table that one of the two has lost lies before this one, or behind it.
  const auto& orphans = draft.verdict().orphans;
  if (std::ranges::count(orphans, false, &analyzer::Orphan::is_l1) != 1) return std::nullopt;
  const auto lost = std::ranges::find(orphans, false, &analyzer::Orphan::is_l1);
  return lost->cluster << draft.geometry().cluster_bits() > table ? indices.front() : indices.back();
}

// L1 entries of one layer that name the same L2 table: the owner keeps it, and all do while it is not known.
Remedied part_tables(Draft& draft) {
  const findings::RuleId rule = "l1/alias"_rule;
  if (!draft.any(rule)) return {};
  const auto layers = l1_tables(draft);
  const std::uint64_t span = draft.geometry().span();
  for (const auto& l1 : layers) {
    std::map<std::uint64_t, std::vector<std::uint64_t>> by_table;
    std::vector<NamedTable> all;
    for_each_entry(draft, l1, [&](std::uint64_t index, format::L1Entry entry) {
      all.push_back({index, entry.offset().raw()});
      by_table[entry.offset().raw()].push_back(index);
    });
    const auto place = [&](std::uint64_t i) {
      return Place{.where = fmt::format("{}l1[{}]", l1.prefix, i),
                   .guest = {{base::GuestOffset{i * span}, span, l1.id}}};
    };
    for (const auto& [table, indices] : by_table) {
      if (indices.size() < 2) continue;
      const auto owner = owner_of_table(draft, layers, l1, all, table, indices);
      if (!owner) {
        auto undecided = place(indices.front());
        undecided.evidence = "nothing tells whose table it is";
        for (std::size_t n = 0; n < std::min(indices.size(), most_candidates); ++n)
          undecided.candidates.push_back({.where = place(indices[n]).where,
                                          .guest = place(indices[n]).guest.front(),
                                          .to = table,
                                          .evidence = "its owner, and the others are wrong"});
        draft.withhold(rule, Consent::none, clear_l1, std::move(undecided));
        continue;
      }
      for (const auto i : indices) {
        const std::uint64_t at = l1.offset + i * 8;
        if (i == *owner || draft.awaits(at) || draft.contested(EntryPlace{.offset = at, .l1 = true}))
          continue;
        if (auto* action = draft.may_act(rule, Consent::lossy, clear_l1, place(i)))
          if (auto done = draft.put_word(*action, at, 0); !done) return done;
      }
    }
  }
  return {};
}

// An entry with nothing but the COPIED flag: QEMU shows what lies below, and nothing that was lost belongs there.
Remedied clear_lone_flag(Draft& draft, const Vacancy& v) {
  auto* action =
      draft.may_act(v.rule, Consent::choice, look_below,
                    {.where = v.where,
                     .guest = v.guest,
                     .evidence = "no lost cluster belongs there; a guest sees what lies below already"});
  return action == nullptr ? Remedied{}
                           : draft.put_word(*action, v.place.offset, v.word & ~format::copied_flag);
}

}  // namespace

Remedied give_up(Draft& draft) {
  if (!draft.verdict().geometry) return {};
  std::vector<Vacancy> cut;
  for (const auto& v : vacancies(draft, true, true)) {
    if (draft.awaits(v.place.offset) || v.rule == "l1/copied-without-offset"_rule || draft.contested(v.place))
      continue;
    if (v.rule == "l2/table-implausible"_rule) {
      if (auto done = thin_out(draft, v); !done) return done;
      continue;
    }
    if (v.rule == "l1/points-at-metadata"_rule && leads_to_table(draft, v.word)) {
      draft.withhold(
          v.rule, Consent::none, clear_l1,
          {.where = v.where,
           .guest = v.guest,
           .evidence = "it leads to what looks like its table: what else lies there may be wrong"});
      continue;
    }
    if (v.rule == "l1/entry-partial-eof"_rule) {
      if (auto done = complete_table(draft, v); !done) return done;
      continue;
    }
    if (v.cut && v.rule == "l1/entry-past-eof"_rule) {
      cut.push_back(v);
      continue;
    }
    // Of entries that share a table, the first keeps it; a finding names a few of the others only.
    if (v.shared) continue;
    if (auto* action = draft.may_act(v.rule, Consent::lossy, clear_l1, {.where = v.where, .guest = v.guest}))
      if (auto done = draft.put_word(*action, v.place.offset, 0); !done) return done;
  }
  if (auto done = replace_cut_tables(draft, cut); !done) return done;
  if (auto done = part_tables(draft); !done) return done;
  for (const auto& v : vacancies(draft, false, true)) {
    const bool has_content = v.shared || v.rule == "l2/points-at-metadata"_rule;  // see separate.cpp
    if (has_content || draft.awaits(v.place.offset) || draft.contested(v.place)) continue;
    if (v.rule == "l2/copied-without-offset"_rule) {
      if (auto done = clear_lone_flag(draft, v); !done) return done;
      continue;
    }
    auto* action =
        reads_as_zeros(draft, v.place.offset)
            ? draft.may_act(v.rule, Consent::lossless, keep_zeros, {.where = v.where, .guest = v.guest})
            : draft.may_act(v.rule, Consent::lossy, clear_l2, {.where = v.where, .guest = v.guest});
    if (action == nullptr) continue;
    if (auto done = read_as_zeros(draft, *action, v.place.offset); !done) return done;
  }
  const auto writes = draft.writes();
  if (auto done = cut_streams(draft); !done || draft.writes() != writes) return done;
  for (const auto rule : compressed)
    for (const auto& f : draft.found(rule)) {
      const auto place = draft.entry(f.where);
      if (!place || place->l1 || draft.awaits(place->offset) || draft.contested(*place)) continue;
      if (auto* action = draft.may_act(rule, Consent::lossy, clear_l2, place_from(f)))
        if (auto done = read_as_zeros(draft, *action, place->offset); !done) return done;
    }
  return {};
}

}  // namespace cowvet::repair
