// The order of the remedies: what decides how the rest is read comes first, what follows from everything else
// comes last. After each that changed something the image is checked anew, so that none acts on what another
// has mended. A remedy with which something would read otherwise, though no step says so, is left out, and
// said so. Refcount blocks that say nothing are made early, since lost tables are found among what is counted;
// what no remedy finds a place for is kept last.
#include "repair/repair.hpp"

#include <algorithm>
#include <functional>
#include <span>

#include <fmt/format.h>

#include "repair/l1_search.hpp"
#include "repair/remedies.hpp"

namespace cowvet::repair {

namespace {

using Remedy = Remedied (*)(Draft&);

constexpr Remedy order[] = {exchange,        mend_header,   reconnect,       mend_extensions,
                            mend_luks,       mend_features, raise_refcounts, mend_snapshot_entries,
                            mend_snapshots,  give_size,     mend_bitmaps,    take_choices,
                            mend_entry_bits, reattach,      reattach_layers, reattach_by_content,
                            separate,        give_up,       mend_refcounts,  mend_copied,
                            cut_tail,        clear_marks};
constexpr unsigned most_remedy_rounds = 16;

// How a repair goes: which remedies are left out, and which of them wrote in the round before it ended.
struct Course {
  std::vector<Remedy> left_out;
  std::vector<Remedy> wrote;
  // Called after each remedy that wrote something; false ends the rounds.
  std::function<base::Result<bool>(Remedy)> watch;

  [[nodiscard]] bool without(Remedy remedy) const {
    return std::ranges::find(left_out, remedy) != left_out.end();
  }
};

// All remedies, again and again, until none of them changes anything; false when that does not come about.
base::Result<bool> settle_rounds(Draft& draft, Course& course) {
  for (unsigned round = 0; round < most_remedy_rounds; ++round) {
    draft.forget_withheld();
    course.wrote.clear();
    for (const auto remedy : order) {
      const auto writes = draft.writes();
      if (!course.without(remedy))
        if (auto done = remedy(draft); !done) return std::unexpected(done.error());
      // As long as the file does not say what the check read in it, nothing else can be mended.
      if (remedy == mend_header && draft.verdict().inferred && draft.writes() == writes) break;
      if (draft.writes() == writes) continue;
      course.wrote.push_back(remedy);
      if (auto done = draft.examine(); !done) return std::unexpected(done.error());
      if (course.watch)
        if (const auto on = course.watch(remedy); !on || !*on) return on;
      // What is counted now may tell where the disk's own table is, before a snapshot is made of it.
      if (remedy == raise_refcounts &&
          std::ranges::any_of(l1_astray(), [&](auto rule) { return draft.any(rule); }))
        break;
    }
    if (!course.wrote.empty()) continue;
    // What has no place when nothing else finds one.
    const auto writes = draft.writes();
    if (course.without(keep_lost)) return true;
    if (auto done = keep_lost(draft); !done) return std::unexpected(done.error());
    if (draft.writes() == writes) return true;
    course.wrote.push_back(keep_lost);
    if (auto done = draft.examine(); !done) return std::unexpected(done.error());
    if (!course.watch) continue;
    if (const auto on = course.watch(keep_lost); !on || !*on) return on;
  }
  return false;
}

// The same, until a repair that knows nothing of this one finds nothing to do either.
base::Result<bool> settle(Draft& draft, const Options& options, base::Progress& progress, Course& course) {
  constexpr unsigned most_repairs = 3;
  for (unsigned repair = 0; repair < most_repairs; ++repair) {
    const auto writes = draft.writes();
    const auto quiet = settle_rounds(draft, course);
    if (!quiet || !*quiet) return quiet;
    if (draft.writes() == writes) return true;  // nothing was done, so a second one would do nothing
    Draft second(draft.image(), options, progress);
    if (auto done = second.examine(); !done) return std::unexpected(done.error());
    const auto again = settle_rounds(second, course);
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
  if (!proof.lost.empty() && !draft.allows(findings::Consent::lossy))
    return "a range could not be read any more, and nobody has agreed to a loss";
  if (!all_named(proof.changed) || !all_named(proof.lost))
    return "a range would read otherwise than before, though no action says so";
  if (!proof.layers_gone.empty() && !draft.allows(findings::Consent::lossy))
    return "a snapshot would be gone, though no action says so";
  return {};
}

constexpr std::string_view comes_to_no_end =
    "the steps come to no end: one of them undoes what another one did";

// What all that was done changes for those who read.
base::Result<void> prove(const storage::Device& image, const Options& options, base::Progress& progress,
                         Planned& planned) {
  auto& plan = planned.plan;
  if (!plan.changes_anything() || !plan.before.geometry || !plan.after.geometry) return {};
  const auto& draft = *planned.draft;
  const auto changes = draft.image().changes();
  auto proof = compare(view_of(image, plan.before, options), view_of(draft.image(), plan.after, options),
                       {.changes = changes}, progress);
  if (!proof) return std::unexpected(proof.error());
  if (plan.objection.empty()) plan.objection = objection_to(*proof, draft);
  plan.proof = std::move(*proof);
  return {};
}

// A plan without the remedies that are left out.
base::Result<Planned> attempt(const storage::Device& image, const Options& options, base::Progress& progress,
                              Course& course) {
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
  const auto settled = settle(draft, options, progress, course);
  if (!settled) return std::unexpected(settled.error());
  if (!options.choices.empty() && !draft.any_chosen())
    return base::refuse("no entry can be chosen for before the header is mended: --level all may do that");
  if (!*settled) plan.objection = comes_to_no_end;
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
  if (auto done = prove(image, options, progress, planned); !done) return std::unexpected(done.error());
  return planned;
}

struct Culprit {
  Remedy remedy;
  Withheld step;  // the one at which it came to light
};

// Which remedy's steps the objection is about, by doing all of it again and looking after each.
base::Result<std::optional<Culprit>> find_culprit(const storage::Device& image, const Options& options,
                                                  base::Progress& progress, const Course& course) {
  Draft draft(image, options, progress);
  if (auto done = draft.examine(); !done) return std::unexpected(done.error());
  const auto before = draft.verdict();
  std::optional<Culprit> found;
  const auto blame = [&](Remedy remedy, std::string evidence) {
    const auto& action = draft.last();
    Place place = action.places.empty() ? Place{} : action.places.front();
    place.evidence = std::move(evidence);
    found = {remedy, {action.rule, findings::Consent::none, action.what, 1, {std::move(place)}}};
  };
  Course again{.left_out = course.left_out, .wrote = {}, .watch = {}};
  again.watch = [&](Remedy remedy) -> base::Result<bool> {
    if (!before.geometry || !draft.verdict().geometry) return true;
    const auto changes = draft.image().changes();
    const auto proof =
        compare(view_of(image, before, options), view_of(draft.image(), draft.verdict(), options),
                {.changes = changes}, progress);
    if (!proof) return std::unexpected(proof.error());
    if (objection_to(*proof, draft).empty()) return true;
    blame(remedy, "with it something would read otherwise than before, which no step says");
    return false;
  };
  const auto settled = settle_rounds(draft, again);
  if (!settled) return std::unexpected(settled.error());
  if (found || *settled || again.wrote.empty()) return found;
  // No end: refcounts and flags follow from what the others do.
  const auto follows = [](Remedy r) {
    return r == raise_refcounts || r == mend_refcounts || r == mend_copied;
  };
  const auto first = std::ranges::find_if_not(again.wrote, follows);
  blame(first == again.wrote.end() ? again.wrote.front() : *first,
        "it and another step would undo each other");
  return found;
}

// A remedy is left out of what was found; of what is there now it may be the right one. So that nothing is left for
// a second repair, its plan becomes a part of this one, where both together are as harmless as each.
base::Result<Planned> with_second(const storage::Device& image, const Options& options,
                                  base::Progress& progress, Planned&& first, Planned&& second) {
  Planned both;
  both.draft = std::make_unique<Draft>(image, options, progress);
  for (const auto* one : {&first, &second})
    if (auto done = both.draft->adopt(*one->draft); !done) return std::unexpected(done.error());
  both.plan = second.plan;
  both.plan.proof.reset();
  both.plan.before = first.plan.before;
  both.plan.size_before = first.plan.size_before;
  both.plan.actions.insert(both.plan.actions.begin(), first.plan.actions.begin(), first.plan.actions.end());
  if (auto done = prove(image, options, progress, both); !done) return std::unexpected(done.error());
  return both.plan.objection.empty() ? std::move(both) : std::move(first);
}

base::Result<Planned> plan_without_culprits(const storage::Device& image, const Options& options,
                                            base::Progress& progress, unsigned seconds) {
  Course course;
  std::vector<Withheld> dropped;
  auto planned = attempt(image, options, progress, course);
  while (planned && !planned->plan.objection.empty()) {
    auto culprit = find_culprit(image, options, progress, course);
    if (!culprit) return std::unexpected(culprit.error());
    if (!*culprit || course.without((*culprit)->remedy)) break;
    if ((*culprit)->remedy == take_choices) {
      const auto& place = (*culprit)->step.places.front();
      return base::refuse(
          fmt::format("the choice for '{}' can't be followed: {}", place.where, place.evidence));
    }
    course.left_out.push_back((*culprit)->remedy);
    dropped.push_back(std::move((*culprit)->step));
    planned = attempt(image, options, progress, course);
  }
  if (!planned) return planned;
  planned->plan.withheld.insert(planned->plan.withheld.end(), dropped.begin(), dropped.end());
  if (dropped.empty() || seconds == 0 || !planned->plan.objection.empty() ||
      !planned->plan.changes_anything())
    return planned;
  auto second = plan_without_culprits(planned->draft->image(), options, progress, seconds - 1);
  if (!second) return second;
  if (!second->plan.objection.empty() || !second->plan.changes_anything()) return planned;
  return with_second(image, options, progress, std::move(*planned), std::move(*second));
}

}  // namespace

base::Result<Planned> plan_repair(const storage::Device& image, const Options& options,
                                  base::Progress& progress) {
  constexpr unsigned most_seconds = 3;
  return plan_without_culprits(image, options, progress, most_seconds);
}

}  // namespace cowvet::repair
