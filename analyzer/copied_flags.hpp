// COPIED flags of the active layer that are clear although their cluster has one reference: a further walk, made only
// when the first one met clear flags, since it takes labels and refcounts to tell an exclusive cluster. Hands
// on: findings.
#pragma once
#include "analyzer/labels.hpp"
#include "analyzer/refcounts.hpp"
#include "analyzer/walk.hpp"

namespace cowvet::analyzer {

// Looks at the clusters of the labels' window. A cluster that something else claims too, or whose stored
// refcount is not 1, is not exclusive: there the other fault is reported, and the clear flag is right or
// follows from it.
[[nodiscard]] base::Result<void> report_clear_copied(Image& image, MappingWalk& walk, const LabelMap& labels,
                                                     const Refcounts& refcounts);

}  // namespace cowvet::analyzer
