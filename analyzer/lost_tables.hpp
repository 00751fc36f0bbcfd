// Leaks explained, after all clusters have been counted: orphan tables with what they belonged to, lost snapshots by
// name, tables without entries beside data without an owner. Promises: nothing here depends on how much of
// the file fits into the map of labels; a sound image never pays for it.
#pragma once
#include <span>

#include "analyzer/leaks.hpp"
#include "analyzer/mapping_checks.hpp"
#include "analyzer/refcounts.hpp"
#include "analyzer/scrap.hpp"
#include "analyzer/walk.hpp"

namespace cowvet::analyzer {

struct LeakEvidence {
  const LeakSurvey& survey;
  std::span<const EmptyTable> empty_tables;
  const Scrap& scrap;
  bool cut = false;  // the file was cut: what points past its end is there no more
};

[[nodiscard]] base::Result<void> explain_leaks(Image& image, MappingWalk& walk, const MetadataMap& metadata,
                                               const Refcounts& refcounts, const LeakEvidence& evidence);

}  // namespace cowvet::analyzer
