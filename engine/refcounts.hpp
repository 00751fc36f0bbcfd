// The refcounts of host clusters, and which clusters are free. Promises: counts rise at once and in any
// order, since too high a count only wastes space; a count is lowered only by whoever knows that nothing
// durable uses the cluster; a cluster handed out was counted by nobody. Memory only: what is written when,
// engine/changes.hpp decides.
#pragma once
#include <algorithm>
#include <cstdint>
#include <set>
#include <vector>

#include "base/result.hpp"
#include "engine/header_area.hpp"
#include "engine/medium.hpp"
#include "engine/table_cache.hpp"

namespace cowvet::engine {

// Adjacent host clusters.
struct Clusters {
  std::uint64_t first = 0, count = 0;
  [[nodiscard]] std::uint64_t end() const { return first + count; }
  friend bool operator==(const Clusters&, const Clusters&) = default;
};

class Refcounts {
 public:
  Refcounts(Medium& file, HeaderArea& header, TableCache& tables)
      : file_(file), header_(header), tables_(tables), geometry_(header.geometry()) {}

  // Reads the refcount table that the header names, and forgets what was known.
  [[nodiscard]] base::Result<void> load();

  [[nodiscard]] base::Result<std::uint64_t> get(std::uint64_t cluster) const;
  // Clusters that were free and are now counted once: as many adjacent ones as there are, at most `most`.
  [[nodiscard]] base::Result<Clusters> allocate(std::uint64_t most);
  // Exactly `count` adjacent ones; behind all others and behind the file's end if `at_end`.
  [[nodiscard]] base::Result<Clusters> allocate_all(std::uint64_t count, bool at_end = false);
  // Space for a compressed stream shorter than a cluster, behind the stream before if that is possible.
  [[nodiscard]] base::Result<base::HostOffset> allocate_stream(std::uint64_t length);
  // One owner more for each. Error limit when a count does not fit into its width; nothing has changed then.
  [[nodiscard]] base::Result<void> raise(Clusters clusters);
  // One owner less for each, and no longer than this may anything durable have used them.
  [[nodiscard]] base::Result<void> lower(Clusters clusters);

  // Makes the file's refcount table name all blocks. The blocks' contents were written; flushes before the table names
  // new ones. Returns the clusters of a table that was replaced: theirs once all this is durable.
  [[nodiscard]] base::Result<Clusters> publish();
  [[nodiscard]] bool unpublished() const { return moved_ || !new_entries_.empty(); }

  // Clusters that became free since the last call.
  [[nodiscard]] std::vector<Clusters> take_freed();
  // The first cluster behind all that is in use.
  [[nodiscard]] base::Result<std::uint64_t> end_of_use();
  // The file was cut here: every cluster behind is free.
  void end_at(std::uint64_t cluster) { end_ = std::min(end_, cluster); }
  // The clusters of the refcount table and its blocks.
  [[nodiscard]] std::vector<Clusters> own() const;

 private:
  // The block of a cluster; null when it is absent, which means that all its counts are 0.
  [[nodiscard]] base::Result<TablePointer> block_of(std::uint64_t cluster) const;
  void set(const TablePointer& block, std::uint64_t cluster, std::uint64_t value);
  // New space behind all that is in use: blocks and a larger table where needed, then `count` clusters.
  [[nodiscard]] base::Result<Clusters> extend(std::uint64_t count, std::uint64_t from);

  Medium& file_;
  HeaderArea& header_;
  TableCache& tables_;
  format::Geometry geometry_;
  std::vector<std::uint64_t> table_;  // entries, as in the file once published
  std::uint64_t table_offset_ = 0;
  std::set<std::uint64_t> new_entries_;  // indices not in the file yet
  bool moved_ = false;                   // the whole table lies at a place that the header does not name yet
  Clusters replaced_;                    // where the header still says that it is
  std::uint64_t search_from_ = 0;        // nothing below is handed out
  std::uint64_t end_ = 0;                // every cluster from here on is free; 0: not known yet
  std::uint64_t stream_end_ = 0;         // where the next stream may begin; 0: in a new cluster
  std::vector<Clusters> freed_;
};

}  // namespace cowvet::engine
