// Bits of table entries that follow from everything else: COPIED, and bits that mean nothing where they are.
#include <algorithm>

#include <fmt/format.h>

#include "repair/field_places.hpp"
#include "repair/remedies.hpp"
#include "repair/vacancies.hpp"

namespace cowvet::repair {

using namespace findings::literals;
using findings::Consent;
using findings::Finding;
using findings::RuleId;

namespace {

using Change = std::uint64_t (*)(std::uint64_t word);
using When = bool (*)(const Draft& draft, const EntryPlace& entry);

// Changes the first words of the entries that the rule's findings are about.
Remedied change_words(Draft& draft, RuleId rule, Consent consent, std::string_view what, Change change,
                      std::uint64_t skip = 0, When when = nullptr) {
  for (const auto& f : draft.found(rule)) {
    const auto entry = draft.entry(f.where);
    if (!f.host || !entry || draft.contested(*entry) || (when != nullptr && !when(draft, *entry))) continue;
    const std::uint64_t step = entry->l1 ? 8 : draft.geometry().l2_entry_size();
    // A finding names the entries, or, where several claim it, the cluster that one of them leads to.
    const std::uint64_t length = f.host->begin.raw() == entry->offset ? f.host->length : step;
    auto* action = draft.may_act(rule, consent, what, place_from(f));
    if (action == nullptr) continue;
    for (std::uint64_t at = entry->offset; at < entry->offset + length; at += step)
      if (auto done = draft.put_word(*action, at + skip, change(draft.word(at + skip))); !done) return done;
  }
  return {};
}

struct BitRemedy {
  RuleId rule;
  Consent consent;
  std::string_view what;
  Change change;
  std::uint64_t skip = 0;  // bytes of the entry before the word
  When when = nullptr;     // which entries; nothing: all
};

constexpr std::uint64_t clear_flag(std::uint64_t word) { return word & ~format::copied_flag; }
constexpr std::uint64_t set_flag(std::uint64_t word) { return word | format::copied_flag; }

constexpr BitRemedy copied[] = {
    {"l1/copied-set-shared"_rule, Consent::lossless, "clear the COPIED flag", clear_flag},
    {"l2/copied-set-shared"_rule, Consent::lossless, "clear the COPIED flag", clear_flag},
    {"compressed/copied-set"_rule, Consent::lossless, "clear the COPIED flag", clear_flag},
    {"l2/zero-copied-without-offset"_rule, Consent::lossless, "clear the COPIED flag", clear_flag},
    {"l1/copied-clear-exclusive"_rule, Consent::lossless, "set the COPIED flag", set_flag},
    {"l2/copied-clear-exclusive"_rule, Consent::lossless, "set the COPIED flag", set_flag},
    {"datafile/copied"_rule, Consent::lossless, "set the COPIED flag", set_flag},
};

// An entry that reads as zeros keeps saying so and nothing else.
constexpr std::uint64_t bare_zero(std::uint64_t) { return format::zero_flag; }
constexpr std::uint64_t nothing(std::uint64_t) { return 0; }
constexpr std::uint64_t without_reserved_l1(std::uint64_t word) {
  return word & ~format::l1_word.reserved_mask;
}
constexpr std::uint64_t without_reserved_l2(std::uint64_t word) {
  return word & ~format::l2_word.reserved_mask;
}
constexpr std::uint64_t without_zero_flag(std::uint64_t word) { return word & ~format::zero_flag; }
// What is allocated counts, since its bytes are there.
constexpr std::uint64_t allocated_wins(std::uint64_t subclusters) {
  return subclusters & ~((subclusters & 0xffffffff) << 32);
}

// Behind the true end of an L1 table whose length is wrong, other structures' words are taken for its entries.
bool length_is_known(const Draft& draft, const EntryPlace&) { return !draft.any("l1/table-past-eof"_rule); }

constexpr BitRemedy bits[] = {
    {"l1/entry-reserved"_rule, Consent::choice, "clear the reserved bits, and keep the offset",
     without_reserved_l1, 0, sense_without_reserved},
    {"l2/reserved"_rule, Consent::choice, "clear the reserved bits, and keep the offset", without_reserved_l2,
     0, sense_without_reserved},
    {"l1/copied-without-offset"_rule, Consent::lossless, "clear the entry, which leads nowhere", nothing, 0,
     length_is_known},
    {"l2/zero-unaligned"_rule, Consent::lossless, "keep \"reads as zeros\" and drop the offset", bare_zero},
    {"extl2/unaligned-without-data"_rule, Consent::lossless, "drop the offset, which nothing is read from",
     nothing},
    {"extl2/zero-flag"_rule, Consent::choice, "clear the zero flag of standard entries", without_zero_flag},
    {"extl2/alloc-and-zero"_rule, Consent::choice, "read the subclusters' stored content", allocated_wins, 8},
    {"extl2/compressed-bitmap"_rule, Consent::lossless, "clear the subcluster bitmap", nothing, 8},
};

Remedied apply(Draft& draft, std::span<const BitRemedy> remedies) {
  if (!draft.verdict().geometry) return {};
  for (const auto& r : remedies)
    if (auto done = change_words(draft, r.rule, r.consent, r.what, r.change, r.skip, r.when); !done)
      return done;
  return {};
}

// A data file holds each cluster where the guest has it.
Remedied mend_places(Draft& draft) {
  const RuleId rule = "datafile/host-offset"_rule;
  const auto& g = draft.geometry();
  for (const auto& f : draft.found(rule)) {
    const auto entry = draft.entry(f.where);
    if (!entry || entry->l1 || !f.host || draft.contested(*entry)) continue;
    auto* action = draft.may_act(rule, Consent::choice,
                                 "lead the entry to the guest's own place of the data file", place_from(f));
    if (action == nullptr) continue;
    const std::uint64_t count = f.host->length / g.l2_entry_size();
    for (std::uint64_t i = 0; i < count && entry->l2_index + i < g.l2_entries(); ++i) {
      const std::uint64_t at = entry->offset + i * g.l2_entry_size();
      const std::uint64_t guest = entry->l1_index * g.span() + ((entry->l2_index + i) << g.cluster_bits());
      const std::uint64_t flags = draft.word(at) & ~format::entry_offset_mask;
      if (auto done = draft.put_word(*action, at, flags | guest | format::copied_flag); !done) return done;
    }
  }
  return {};
}

}  // namespace

Remedied mend_copied(Draft& draft) { return apply(draft, copied); }

Remedied mend_entry_bits(Draft& draft) {
  if (auto done = apply(draft, bits); !done) return done;
  if (!draft.verdict().geometry) return {};
  if (auto done = mend_places(draft); !done) return done;
  // Version 2 has no zero flag: what the entry points to is its content.
  return change_words(draft, "l2/zero-flag-v2"_rule, Consent::choice,
                      "clear the zero flag, which version 2 does not have", without_zero_flag);
}

Remedied clear_marks(Draft& draft) {
  const auto& verdict = draft.verdict();
  if (!verdict.geometry || !draft.header().has_v3()) return {};
  const RuleId dirty = "feature/dirty"_rule, corrupt = "feature/corrupt"_rule;
  if (!draft.any(dirty) && !draft.any(corrupt)) return {};
  const auto grave = [&](findings::Severity severity, RuleId but) {
    const auto& summary = verdict.summary;
    std::uint64_t known = 0;
    if (summary.of(but).findings != 0 && summary.gravest[but.index()] == severity)
      known = summary.of(but).findings;
    return summary.of(severity).findings != known;
  };
  const bool wrong = grave(findings::Severity::fatal, corrupt) || grave(findings::Severity::error, corrupt) ||
                     draft.any("refcount/too-high"_rule);
  auto features = verdict.header->v3.incompatible_features;
  for (const auto& [rule, name] : {std::pair{dirty, "dirty"}, std::pair{corrupt, "corrupt"}}) {
    if (!draft.any(rule)) continue;
    const auto what = fmt::format("clear the {} bit, since nothing is wrong any more", name);
    if (wrong) {
      draft.withhold(rule, Consent::none, what,
                     {.where = "header.incompatible_features", .evidence = "something still is"});
      continue;
    }
    auto* action = draft.may_act(rule, Consent::lossless, what, {.where = "header.incompatible_features"});
    features &=
        ~(rule == dirty ? format::incompatible_word["dirty"] : format::incompatible_word["corrupt"]).mask();
    if (auto done = draft.put_word(*action, incompatible_at, features); !done) return done;
  }
  return {};
}

Remedied cut_tail(Draft& draft) {
  const auto& verdict = draft.verdict();
  if (!verdict.geometry || draft.doubtful()) return {};
  for (const auto& f : draft.found("file/tail-unreferenced"_rule)) {
    if (!f.host || draft.any("file/tail-data"_rule)) continue;
    // What this repair itself took and did not need goes without asking.
    if (auto* action = draft.may_act(f.rule, Consent::frees,
                                     "cut off the unused end of the file, which is zeros", place_from(f))) {
      if (auto done = draft.resize(*action, f.host->begin.raw()); !done) return done;
    }
  }
  return {};
}

}  // namespace cowvet::repair
