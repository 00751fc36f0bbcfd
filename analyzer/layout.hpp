// Who owns every byte of the file, in the order of the file. Promises: the runs follow each other without a
// gap from byte 0 to the end, so that their lengths add up to the file's; nothing is judged. Works on damaged
// images as far as their structures can be read.
#pragma once
#include <cstdint>
#include <functional>
#include <string>

#include "analyzer/labels.hpp"
#include "analyzer/options.hpp"
#include "base/progress.hpp"
#include "base/result.hpp"
#include "base/units.hpp"
#include "storage/device.hpp"

namespace cowvet::analyzer {

struct LayoutRun {
  base::HostOffset begin;
  std::uint64_t length = 0;  // bytes
  Kind kind = Kind::free;
  std::uint32_t refs = 0;  // references to each of its clusters
  bool leaked = false;     // free, and counted as used all the same
  std::string
      where;  // the structure, for metadata that has a name: "l1", "snapshot[2].l1", "bitmap[0].table"
};

// What the image is, for a heading; geometry 0 means that nothing could be read.
struct LayoutSummary {
  std::uint64_t file_size = 0, cluster_size = 0;
  bool inferred = false;
};

// Calls visit for each run. An Error only when cancelled, too expensive, or when it is no qcow2 image.
[[nodiscard]] base::Result<LayoutSummary> layout(const storage::Device& device, const Options& options,
                                                 base::Progress& progress,
                                                 const std::function<void(const LayoutRun&)>& visit);

}  // namespace cowvet::analyzer
