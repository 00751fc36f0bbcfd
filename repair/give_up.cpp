// Entries that lead nowhere, when nothing was found that belongs there: they read as zeros from then on, and
// never as the backing file's old content, so that what is lost is not hidden. Promises: needs the consent to
// lose data; each place is told with the guest ranges that are lost.
#include <algorithm>

#include "analyzer/l2_scan.hpp"
#include "repair/remedies.hpp"
#include "repair/vacancies.hpp"

namespace cowvet::repair {

using namespace findings::literals;
using findings::Consent;

namespace {

constexpr std::string_view clear_l1 = "give up the L2 table that the entry should lead to";
constexpr std::string_view clear_l2 = "give up the cluster's content, which can't be reached";
constexpr std::string_view clear_table = "keep the table's entries that make sense, and give up the others";

// The words of an L2 entry that reads as zeros, whatever lies below.
Remedied read_as_zeros(Draft& draft, Action& action, std::uint64_t at) {
  const bool v3 = draft.header().has_v3();
  const bool below = draft.verdict().backing_name.has_value();
  if (draft.geometry().extended_l2()) {
    if (auto done = draft.put_word(action, at, 0); !done) return done;
    return draft.put_word(action, at + 8, below ? 0xffffffffULL << 32 : 0);
  }
  return draft.put_word(action, at, v3 && below ? format::zero_flag : 0);
}

constexpr findings::RuleId compressed[] = {
    "compressed/offset-high-bits"_rule, "compressed/range-past-eof"_rule, "compressed/overlaps-metadata"_rule,
    "compressed/in-data-file-image"_rule};

// A table over which something else was written: entries that can't be right are given up.
Remedied thin_out(Draft& draft, const Vacancy& v) {
  const auto& g = draft.geometry();
  const std::uint64_t table = v.word & format::entry_offset_mask;
  auto bytes = draft.bytes(table, g.cluster_size());
  const analyzer::ScanRules rules{.geometry = g,
                                  .eof = draft.image().size(),
                                  .version2 = !draft.header().has_v3(),
                                  .external_data = draft.header().external_data_file()};
  std::vector<analyzer::EntryRun> runs;
  analyzer::scan_l2(bytes, rules, v.place.l1_index * g.span(), runs);
  auto* action = draft.may_act(v.rule, Consent::lossy, clear_table, {.where = v.where, .guest = v.guest});
  if (action == nullptr) return {};
  for (const auto& run : runs) {
    if (!analyzer::foreign(run) && (run.problems & analyzer::problem::past_eof) == 0) continue;
    const auto begin = bytes.begin() + static_cast<std::ptrdiff_t>(run.first * g.l2_entry_size());
    std::fill(begin, begin + static_cast<std::ptrdiff_t>(run.count * g.l2_entry_size()), std::byte{0});
  }
  return draft.put(*action, table, bytes);
}

}  // namespace

Remedied give_up(Draft& draft) {
  if (!draft.verdict().geometry) return {};
  for (const auto& v : vacancies(draft, true)) {
    if (draft.awaits(v.place.offset) || v.rule == "l1/copied-without-offset"_rule) continue;
    if (v.rule == "l2/table-implausible"_rule) {
      if (auto done = thin_out(draft, v); !done) return done;
      continue;
    }
    // Of entries that share a table, the first keeps it.
    if (v.shared &&
        std::ranges::any_of(draft.found(v.rule), [&](const auto& f) { return f.where == v.where; }))
      continue;
    if (auto* action = draft.may_act(v.rule, Consent::lossy, clear_l1, {.where = v.where, .guest = v.guest}))
      if (auto done = draft.put_word(*action, v.place.offset, 0); !done) return done;
  }
  for (const auto& v : vacancies(draft, false)) {
    const bool has_content = v.shared || v.rule == "l2/points-at-metadata"_rule;  // see separate.cpp
    if (has_content || draft.awaits(v.place.offset)) continue;
    auto* action = draft.may_act(v.rule, Consent::lossy, clear_l2, {.where = v.where, .guest = v.guest});
    if (action == nullptr) continue;
    if (auto done = read_as_zeros(draft, *action, v.place.offset); !done) return done;
  }
  for (const auto rule : compressed)
    for (const auto& f : draft.found(rule)) {
      const auto place = draft.entry(f.where);
      if (!place || place->l1) continue;
      if (auto* action = draft.may_act(rule, Consent::lossy, clear_l2, place_from(f)))
        if (auto done = read_as_zeros(draft, *action, place->offset); !done) return done;
    }
  return {};
}

}  // namespace cowvet::repair
