// The owners of all clusters, and the refcounts that are not their number, for those who act on them. Promises:
// nothing is judged, reported or left out, however much is wrong; memory as a check's.
#pragma once
#include <cstdint>
#include <functional>

#include "analyzer/labels.hpp"
#include "analyzer/options.hpp"
#include "analyzer/refcounts.hpp"
#include "base/progress.hpp"
#include "base/result.hpp"
#include "storage/device.hpp"

namespace cowvet::analyzer {

struct CensusUse {
  // Runs of clusters that have an owner, ascending.
  LabelMap::Visit owned;
  // Stretches whose refcount, in a block that can be read, is not the number of their owners; ascending.
  Refcounts::See wrong;
};

// Error usage: the image has no geometry. As check() otherwise.
[[nodiscard]] base::Result<void> take_census(const storage::Device& device, const Options& options,
                                             base::Progress& progress, const CensusUse& use);

}  // namespace cowvet::analyzer
