// The order of the remedies: what decides how the rest is read comes first, what follows from everything else
// comes last. After each that changed something the image is checked anew, so that none acts on what another
// has mended. Refcount blocks that say nothing are made early, since lost tables are found among what is
// counted.
#include "repair/repair.hpp"

#include "repair/remedies.hpp"

namespace cowvet::repair {

namespace {

using Remedy = Remedied (*)(Draft&);

constexpr Remedy order[] = {mend_header,     mend_features, mend_refcounts, mend_snapshots, mend_bitmaps,
                            mend_entry_bits, reattach,      separate,       give_up,        mend_refcounts,
                            mend_copied,     cut_tail,      clear_marks};
constexpr unsigned most_rounds = 16;

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
    return base::fail(
        base::ErrorKind::wrong_format,
        "it is no qcow2 image, and nothing of one is found in it: 'cowvet salvage' looks at every cluster");
  for (unsigned round = 0; round < most_rounds; ++round) {
    draft.forget_withheld();
    const auto writes_before = draft.writes();
    for (const auto remedy : order) {
      const auto writes = draft.writes();
      if (auto done = remedy(draft); !done) return std::unexpected(done.error());
      if (draft.writes() == writes) continue;
      if (auto done = draft.examine(); !done) return std::unexpected(done.error());
    }
    if (draft.writes() == writes_before) break;
  }
  plan.size_after = draft.image().size();
  plan.actions = draft.take_actions();
  plan.withheld = draft.take_withheld();
  plan.after = draft.take_verdict();
  return planned;
}

}  // namespace cowvet::repair
