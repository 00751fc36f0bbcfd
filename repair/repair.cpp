// The order of the remedies: what decides how the rest is read comes first, what follows from everything else
// comes last. After each that changed something the image is checked anew, so that none acts on what another
// has mended. Refcount blocks that say nothing are made early, since lost tables are found among what is
// counted.
#include "repair/repair.hpp"

#include <algorithm>
#include <span>

#include "repair/remedies.hpp"

namespace cowvet::repair {

namespace {

using Remedy = Remedied (*)(Draft&);

constexpr Remedy order[] = {mend_header,
                            reconnect,
                            mend_extensions,
                            mend_luks,
                            mend_features,
                            raise_refcounts,
                            mend_snapshot_entries,
                            mend_snapshots,
                            give_size,
                            mend_bitmaps,
                            mend_entry_bits,
                            reattach,
                            reattach_layers,
                            reattach_by_content,
                            separate,
                            give_up,
                            mend_refcounts,
                            mend_copied,
                            cut_tail,
                            clear_marks};
constexpr unsigned most_rounds = 16;

// All remedies, again and again, until none of them changes anything; false when that does not come about.
base::Result<bool> settle_rounds(Draft& draft) {
  for (unsigned round = 0; round < most_rounds; ++round) {
    draft.forget_withheld();
    const auto writes_before = draft.writes();
    for (const auto remedy : order) {
      const auto writes = draft.writes();
      if (auto done = remedy(draft); !done) return std::unexpected(done.error());
      // As long as the file does not say what the check read in it, nothing else can be mended.
      if (remedy == mend_header && draft.verdict().inferred && draft.writes() == writes) break;
      if (draft.writes() == writes) continue;
      if (auto done = draft.examine(); !done) return std::unexpected(done.error());
    }
    if (draft.writes() != writes_before) continue;
    if (auto done = keep_lost(draft); !done) return std::unexpected(done.error());
    if (draft.writes() == writes_before) return true;
    if (auto done = draft.examine(); !done) return std::unexpected(done.error());
  }
  return false;
}

// The same, until a repair that knows nothing of this one finds nothing to do either.
base::Result<bool> settle(Draft& draft, const Options& options, base::Progress& progress) {
  constexpr unsigned most_repairs = 3;
  for (unsigned repair = 0; repair < most_repairs; ++repair) {
    const auto writes = draft.writes();
    const auto quiet = settle_rounds(draft);
    if (!quiet || !*quiet) return quiet;
    if (draft.writes() == writes) return true;  // nothing was done, so a second one would do nothing
    Draft second(draft.image(), options, progress);
    if (auto done = second.examine(); !done) return std::unexpected(done.error());
    const auto again = settle_rounds(second);
    if (!again) return again;
    if (second.writes() == 0) return true;
    draft.forget_abandoned();
  }
  return false;
}

View view_of(const storage::Device& device, const analyzer::Verdict& verdict, const Options& options) {
  return View(device, *verdict.header, *verdict.geometry, {.data_file = options.data_file});
}

// Whether all of a range is among what the actions say they change.
bool named(const findings::GuestRange& range, std::span<const findings::GuestRange> all) {
  std::uint64_t at = range.begin.raw();
  const std::uint64_t end = at + range.length;
  for (bool moved = true; moved && at < end;) {
    moved = false;
    for (const auto& one : all)
      if (one.snapshot == range.snapshot && one.begin.raw() <= at && at < one.begin.raw() + one.length) {
        at = one.begin.raw() + one.length;
        moved = true;
      }
  }
  return at >= end;
}

// Why the plan must not be carried out.
std::string objection_to(const Proof& proof, const Draft& draft) {
  const auto all_named = [&](const GuestRanges& ranges) {
    return std::ranges::all_of(ranges.list, [&](const auto& range) { return named(range, draft.named()); });
  };
  if (!all_named(proof.changed) || !all_named(proof.lost))
    return "a range would read otherwise than before, though no action says so";
  if (!proof.layers_gone.empty() && !draft.allows(findings::Consent::lossy))
    return "a snapshot would be gone, though no action says so";
  return {};
}

}  // namespace

base::Result<Planned> plan_repair(const storage::Device& image, const Options& options,
                                  base::Progress& progress) {
  Planned planned;
  planned.draft = std::make_unique<Draft>(image, options, progress);
  auto& draft = *planned.draft;
  if (auto done = draft.examine(); !done) return std::unexpected(done.error());
  auto& plan = planned.plan;
  plan.before = draft.verdict();
  plan.size_before = image.size();
  if (!plan.before.recognised)
    return base::fail(base::ErrorKind::wrong_format,
                      "it is no qcow2 image, and nothing of one is found in it");
  const auto settled = settle(draft, options, progress);
  if (!settled) return std::unexpected(settled.error());
  if (!*settled) plan.objection = "the steps come to no end: one of them undoes what another one did";
  plan.size_after = draft.image().size();
  plan.actions = draft.take_actions();
  plan.withheld = draft.take_withheld();
  // What would have changed a byte and found no way to.
  for (const auto& action : plan.actions)
    if (action.changes == 0)
      plan.withheld.push_back(
          {action.rule, findings::Consent::none, action.what, action.count, action.places});
  std::erase_if(plan.actions, [](const Action& action) { return action.changes == 0; });
  plan.after = draft.take_verdict();
  if (plan.changes_anything() && plan.before.geometry && plan.after.geometry) {
    const auto changes = draft.image().changes();
    auto proof = compare(view_of(image, plan.before, options), view_of(draft.image(), plan.after, options),
                         {.changes = changes}, progress);
    if (!proof) return std::unexpected(proof.error());
    if (plan.objection.empty()) plan.objection = objection_to(*proof, draft);
    plan.proof = std::move(*proof);
  }
  return planned;
}

}  // namespace cowvet::repair
