// The outcome of a check: one value that every report is made from.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "analyzer/orphan.hpp"
#include "findings/collector.hpp"
#include "findings/finding.hpp"
#include "format/geometry.hpp"
#include "format/header.hpp"

namespace cowvet::analyzer {

// Counters with the meaning that `qemu-img check` gives them; the active layer's mapping only.
struct Statistics {
  std::uint64_t total_clusters = 0;  // guest clusters of the disk
  std::uint64_t allocated_clusters = 0;
  std::uint64_t fragmented_clusters =
      0;  // not behind their predecessor in the file; each compressed cluster counts
  std::uint64_t compressed_clusters = 0;
  std::uint64_t image_end_offset = 0;  // end of the last cluster that is owned or counted, bytes
};

struct Verdict {
  std::optional<format::Header> header;  // nothing: the file is too short for one
  std::optional<format::Geometry>
      geometry;              // nothing: neither header nor content gives one, nothing was walked
  bool recognised = false;   // it is, or was, a qcow2 image
  bool inferred = false;     // geometry and positions were inferred from the content
  bool header_lost = false;  // likewise, and nothing of the stored header is believed
  bool complete = true;      // every structure was walked; otherwise `incomplete` says what stopped it
  std::string incomplete;
  std::optional<std::string> backing_name = {};  // raw bytes; a check does not look at that file
  std::vector<std::string> doubts;               // why unowned clusters may have owners all the same
  std::vector<Orphan> orphans;                   // lost tables, in order of their clusters
  std::vector<UnlistedSnapshot> lost_snapshots;  // that are in the file all the same
  Statistics statistics;
  findings::Summary summary;
  std::vector<findings::Finding> findings;  // in order; per rule at most the cap
};

}  // namespace cowvet::analyzer
