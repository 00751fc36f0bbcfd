// L2 tables whose refcount counts more layers than name them: either a lost entry of an L1 table, or a number that is
// too high. An entry was not lost when an operation that was stopped explains the count: it notes the table
// as scrap, or the table was copied for the layer that counts no more, or what the table names is counted for
// those layers only that name it, or it holds zeros only and the active layer, which has another table there, may have
// given it up. Promises: each is reported, as the one or the other.
#pragma once
#include <span>

#include "analyzer/refcounts.hpp"
#include "analyzer/scrap.hpp"
#include "analyzer/walk.hpp"

namespace cowvet::analyzer {

// `held`: ascending.
[[nodiscard]] base::Result<void> report_held_tables(Image& image, MappingWalk& walk,
                                                    const MetadataMap& metadata, Refcounts& refcounts,
                                                    std::span<const Mismatch> held, const Scrap& scrap);

}  // namespace cowvet::analyzer
