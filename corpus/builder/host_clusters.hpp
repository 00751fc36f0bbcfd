// Hands out host clusters and keeps their refcounts, in the image's own refcount blocks. Clusters are given out in
// rising order and never twice; a freed cluster stays free. Promises: every refcount that it writes is one that it
// counted; a count that does not fit is refused and remembered.
#pragma once
#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "corpus/builder/layout.hpp"
#include "corpus/builder/sparse_bytes.hpp"
#include "format/geometry.hpp"

namespace cowvet::corpus {

class HostClusters {
 public:
  // Takes cluster 0 for the header and the clusters after it for the refcount table.
  HostClusters(SparseBytes& file, format::Geometry geometry, std::uint64_t table_clusters);

  // `count` adjacent clusters, each with the refcount given; the offset of the first. Written: they hold zeros, else
  // they are holes.
  std::uint64_t take(std::uint64_t count, bool written = false, std::uint64_t refcount = 1);
  // As take, but nobody owns them yet and nothing counts them; refcount blocks for them exist.
  std::uint64_t take_uncounted(std::uint64_t count);
  // The next cluster handed out lies at `offset` or behind it.
  void skip_to(std::uint64_t offset);
  [[nodiscard]] std::uint64_t next() const { return next_ << geometry_.cluster_bits(); }

  [[nodiscard]] std::uint64_t refcount(std::uint64_t offset) const;
  void reference(std::uint64_t offset);  // one owner more for the cluster at `offset`
  void release(std::uint64_t offset);    // one less; a cluster without owners becomes a hole

  // Writes the refcount table, moved to the end if it has outgrown its place. Nothing may be taken afterwards.
  void finish();
  [[nodiscard]] Region table() const;
  [[nodiscard]] const std::map<std::uint64_t, std::uint64_t>& blocks() const { return blocks_; }
  // What could not be counted, for a person.
  [[nodiscard]] const std::optional<std::string>& error() const { return error_; }

 private:
  void set_refcount(std::uint64_t cluster, std::uint64_t value);
  void ensure_block(std::uint64_t index);
  void cover(std::uint64_t first, std::uint64_t count);

  SparseBytes& file_;
  format::Geometry geometry_;
  std::uint64_t next_ = 0;  // cluster number
  std::uint64_t table_offset_ = 0, table_clusters_ = 0;
  std::map<std::uint64_t, std::uint64_t> blocks_;
  std::optional<std::string> error_;
};

}  // namespace cowvet::corpus
