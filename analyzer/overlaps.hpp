// Clusters that several owners claim: who overlaps whom, under the rule that speaks of that pair. The verdict never
// depends on refcounts, which a repair may have made to agree. Hands on: findings.
#pragma once
#include "analyzer/labels.hpp"
#include "analyzer/mapping_checks.hpp"
#include "analyzer/walk.hpp"

namespace cowvet::analyzer {

// Reports every contested cluster of the map's window.
[[nodiscard]] base::Result<void> report_overlaps(Image& image, MappingWalk& walk, const MetadataMap& metadata,
                                                 const LabelMap& labels);
// Reports L2 tables that several L1 entries of one layer name.
void report_repeated_tables(Image& image, const MappingWalk& walk);
// Reports images that make a plain walk read the same tables over and over.
void report_walk_cost(Image& image, const MappingChecks& checks);
// Adds owners and guest ranges to findings that speak of clusters whose refcounts are wrong.
[[nodiscard]] base::Result<void> name_owners(Image& image, MappingWalk& walk, const MetadataMap& metadata,
                                             std::span<findings::Finding> kept);

}  // namespace cowvet::analyzer
