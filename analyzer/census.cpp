#include "analyzer/census.hpp"

#include "analyzer/counting.hpp"
#include "analyzer/image.hpp"
#include "base/checked.hpp"
#include "base/parallel.hpp"

namespace cowvet::analyzer {

base::Result<void> take_census(const storage::Device& device, const Options& options,
                               base::Progress& progress, const CensusUse& use) {
  findings::Collector unheard(0);
  Image image(device, options, unheard, progress);
  image.trial = true;
  read_structures(image);
  if (!image.geometry) return base::fail(base::ErrorKind::usage, "its cluster size is not known");
  const auto g = *image.geometry;
  const unsigned jobs = options.jobs != 0 ? options.jobs : base::default_jobs();
  Refcounts refcounts(image);
  MetadataMap metadata(std::move(image.regions));
  refcounts.read_table(metadata);
  metadata.seal(g);
  MappingWalk walk(image, metadata, refcounts, jobs);
  auto labels = LabelMap::make(base::divide_up(image.eof, g.cluster_size()), label_budget(image));
  if (!labels) return std::unexpected(labels.error());
  do {
    metadata.label(**labels, g);
    refcounts.label_blocks(**labels);
    CountingVisitor counting(walk, **labels);
    if (auto walked = walk.run(counting); !walked) return walked;
    labels.value()->for_each_run(labels.value()->window_begin(), labels.value()->window_end(),
                                 [&](std::uint64_t first, std::uint64_t count, Label label) {
                                   if (label.kind != Kind::free) use.owned(first, count, label);
                                 });
    (void)refcounts.compare(**labels, jobs, Refcounts::Voice::quiet, use.wrong);
    if (progress.stop_requested()) return base::fail(base::ErrorKind::cancelled, "stopped");
  } while (labels.value()->advance());
  return {};
}

}  // namespace cowvet::analyzer
