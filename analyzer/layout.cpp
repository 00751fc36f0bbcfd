#include "analyzer/layout.hpp"

#include <algorithm>
#include <map>
#include <utility>

#include "analyzer/counting.hpp"
#include "analyzer/image.hpp"
#include "analyzer/refcounts.hpp"
#include "analyzer/walk.hpp"
#include "base/parallel.hpp"

namespace cowvet::analyzer {

namespace {

// Puts runs together and hands them on in order.
class Writer {
 public:
  Writer(const Image& image, std::span<const Region> regions,
         const std::function<void(const LayoutRun&)>& visit)
      : image_(image), g_(*image.geometry), visit_(visit) {
    for (const auto& region : regions)
      if (region.length != 0) names_.try_emplace(g_.cluster_of(region.begin).raw(), region.where());
  }
  ~Writer() { flush(); }
  Writer(const Writer&) = delete;
  Writer& operator=(const Writer&) = delete;

  void add(std::uint64_t first, std::uint64_t count, Label label, bool leaked) {
    // A structure's name begins a run of its own.
    for (const std::uint64_t end = first + count; first < end;) {
      const auto next = names_.upper_bound(first);
      const std::uint64_t until = next == names_.end() ? end : std::min(end, next->first);
      put(first, until - first, label, leaked);
      first = until;
    }
  }

 private:
  void put(std::uint64_t first, std::uint64_t count, Label label, bool leaked) {
    const auto name = names_.find(first);
    const bool goes_on = count_ != 0 && first == first_ + count_ && label == label_ && leaked == leaked_ &&
                         (name == names_.end() || label.kind == Kind::free || label.kind == Kind::data);
    if (goes_on) {
      count_ += count;
      return;
    }
    flush();
    first_ = first;
    count_ = count;
    label_ = label;
    leaked_ = leaked;
    where_ = name == names_.end() ? std::string() : name->second;
  }
  void flush() {
    if (count_ == 0) return;
    const std::uint64_t begin = first_ << g_.cluster_bits();
    const std::uint64_t end = std::min(image_.eof, (first_ + count_) << g_.cluster_bits());
    visit_({base::HostOffset{begin}, end - begin, label_.kind, label_.refs, leaked_, where_});
    count_ = 0;
  }

  const Image& image_;
  const format::Geometry g_;
  const std::function<void(const LayoutRun&)>& visit_;
  std::map<std::uint64_t, std::string> names_;  // by the structure's first cluster
  std::uint64_t first_ = 0, count_ = 0;
  Label label_;
  bool leaked_ = false;
  std::string where_;
};

}  // namespace

base::Result<LayoutSummary> layout(const storage::Device& device, const Options& options,
                                   base::Progress& progress,
                                   const std::function<void(const LayoutRun&)>& visit) {
  findings::Collector ignored(0);
  Image image(device, options, ignored, progress);
  read_structures(image);
  if (!image.geometry)
    return base::fail(base::ErrorKind::usage,
                      "not a qcow2 image, and nothing in it looks like one: see cowvet check");
  const auto& g = *image.geometry;
  const unsigned jobs = options.jobs != 0 ? options.jobs : base::default_jobs();

  Refcounts refcounts(image);
  MetadataMap metadata(std::exchange(image.regions, {}));
  refcounts.read_table(metadata);
  metadata.seal(g);
  MappingWalk walk(image, metadata, refcounts, jobs);
  auto labels = LabelMap::make(base::divide_up(image.eof, g.cluster_size()), label_budget(image));
  if (!labels) return std::unexpected(labels.error());
  Writer writer(image, metadata.regions(), visit);
  do {
    metadata.label(**labels, g);
    refcounts.label_blocks(**labels);
    CountingVisitor counting(walk, **labels);
    if (auto walked = walk.run(counting); !walked) return std::unexpected(walked.error());
    const auto compared = refcounts.compare(**labels, jobs, Refcounts::Voice::quiet);
    auto leak = compared.leaks.begin();
    labels.value()->for_each_run(
        labels.value()->window_begin(), labels.value()->window_end(),
        [&](std::uint64_t first, std::uint64_t count, Label label) {
          if (label.kind != Kind::free) return writer.add(first, count, label, false);
          for (const std::uint64_t end = first + count; first < end;) {
            while (leak != compared.leaks.end() && leak->first + leak->count <= first) ++leak;
            const bool leaked = leak != compared.leaks.end() && leak->first <= first;
            const std::uint64_t next = leak == compared.leaks.end() ? end
                                       : leaked                     ? leak->first + leak->count
                                                                    : leak->first;
            const std::uint64_t until = std::min(end, next);
            writer.add(first, until - first, label, leaked);
            first = until;
          }
        });
  } while (labels.value()->advance());
  return LayoutSummary{image.eof, g.cluster_size(), image.inferred};
}

}  // namespace cowvet::analyzer
