// L2 tables whose refcount counts more layers than name them: either a lost entry of an L1 table, or a number that is
// too high. Promises: each is reported, as the one or the other.
#pragma once
#include <span>

#include "analyzer/refcounts.hpp"
#include "analyzer/walk.hpp"

namespace cowvet::analyzer {

// `held`: ascending.
[[nodiscard]] base::Result<void> report_held_tables(Image& image, MappingWalk& walk,
                                                    const MetadataMap& metadata, Refcounts& refcounts,
                                                    std::span<const Mismatch> held);

}  // namespace cowvet::analyzer
