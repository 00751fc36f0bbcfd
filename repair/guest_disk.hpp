// The active layer's disk as its guest reads it, as far as the tables still tell, with what lost tables and
// clusters would show if they were put back where they are supposed to belong. Promises: a read says whether
// all of it is known; what has no entry is known to be zeros only where no entry was lost; a few tables are
// in memory.
#pragma once
#include <cstdint>
#include <list>
#include <map>
#include <set>
#include <unordered_map>
#include <vector>

#include "repair/draft.hpp"
#include "repair/guest_reader.hpp"

namespace cowvet::repair {

class GuestDisk final : public GuestReader {
 public:
  // Of a draft that has a geometry; it must live longer, and not change meanwhile.
  explicit GuestDisk(const Draft& draft);

  [[nodiscard]] std::uint64_t size() const override { return draft_.header().v2.size; }
  [[nodiscard]] std::uint64_t unit() const override { return g_.cluster_size(); }
  [[nodiscard]] const format::Geometry& geometry() const { return g_; }

  // Whatever is not mapped under this entry of the L1 table may have been lost.
  void doubt_table(std::uint64_t l1_index) { doubted_.insert(l1_index); }
  // The same for one cluster of the guest, and whatever its entry says.
  void doubt_cluster(std::uint64_t cluster) { doubted_clusters_.insert(cluster); }

  void suppose_table(std::uint64_t l1_index, std::uint64_t offset) { tables_[l1_index] = offset; }
  // The L2 entry's word that the guest's cluster would have.
  void suppose_cluster(std::uint64_t cluster, std::uint64_t word) { clusters_[cluster] = word; }
  void suppose_nothing() {
    tables_.clear();
    clusters_.clear();
  }

  [[nodiscard]] bool read(std::uint64_t offset, base::MutableBytes into) const override;
  // What an L2 entry leads to: a whole cluster. False where that can't be read.
  [[nodiscard]] bool read_stored(std::uint64_t word, base::MutableBytes into) const;

 private:
  struct Entry {
    bool known = false;
    std::uint64_t word = 0;
    std::uint64_t subclusters = 0;
  };
  [[nodiscard]] Entry entry(std::uint64_t cluster) const;
  [[nodiscard]] const std::vector<std::byte>* table(std::uint64_t offset) const;

  const Draft& draft_;
  const format::Geometry g_;
  std::set<std::uint64_t> doubted_, doubted_clusters_;
  std::unordered_map<std::uint64_t, std::uint64_t> tables_;    // by index in the L1 table
  std::unordered_map<std::uint64_t, std::uint64_t> clusters_;  // by the guest's cluster
  // The tables that were used last, and the cluster that was decoded last.
  mutable std::list<std::pair<std::uint64_t, std::vector<std::byte>>> cache_;
  mutable std::uint64_t decoded_word_ = 0;
  mutable std::vector<std::byte> decoded_;
};

}  // namespace cowvet::repair
