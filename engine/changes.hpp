// Changes of an image's metadata on their way into the file. Promises: whatever a crash leaves of them is an
// image with at worst leaked clusters, and what commit() returned for is there. All of the engine's changes
// pass through here.
//
// The order, and why it is enough:
//  1. Refcount blocks, in which counts only rise. New blocks are flushed before the refcount table names them. Guest data,
//     and new L2 tables as they begin, were written when they were made.
//  2. A flush. Now all that is referred to below is durable, and counted.
//  3. L1 entries. A new L2 table begins empty, or as a copy of the one in its place: naming it changes nothing for the
//     guest. A flush follows, so that no table gets content before it has an owner.
//     Then the counts of the tables that were copied are lowered, and flushed: while such a count is too high, the copy
//     is one still, which tells it from the table of a layer that lost its L1 entry.
//  4. L2 tables.
//  5. A flush. Now nothing durable uses what was given up before.
//  6. Its counts are lowered, in memory: the clusters may be used again, since their old owners are gone for good. The
//     lowered counts reach the file with a later step 1.
//  7. What became free at the end of the file is cut off where that was asked for, once the lowered counts are durable: a
//     crash leaves no counts of what lies behind the end.
// Without new L2 tables a commit takes two flushes, with copied ones four, without changed metadata one,
// without any change none.
#pragma once
#include <cstdint>
#include <set>
#include <vector>

#include "base/result.hpp"
#include "engine/image.hpp"
#include "engine/refcounts.hpp"

namespace cowvet::engine {

class Changes {
 public:
  explicit Changes(Image& image) : image_(image), refcounts_(image.file, image.header, image.tables) {}

  [[nodiscard]] base::Result<void> load() { return refcounts_.load(); }
  [[nodiscard]] Refcounts& refcounts() { return refcounts_; }

  // Before the first change: autoclear bits that are not understood are taken back.
  [[nodiscard]] base::Result<void> begin();

  // Clusters for data or metadata; as in Refcounts, but what was given up is made free first if the space is needed.
  [[nodiscard]] base::Result<Clusters> allocate(std::uint64_t most);
  [[nodiscard]] base::Result<Clusters> allocate_all(std::uint64_t count, bool at_end = false);
  // Whether these are known to hold metadata: where refcounts or entries say otherwise, the image is damaged.
  [[nodiscard]] bool holds_metadata(Clusters clusters) const;
  // The L2 table behind an L1 entry, made if there is none, copied if a snapshot shares it.
  [[nodiscard]] base::Result<TablePointer> l2(std::uint64_t l1_index);
  void set_slot(const TablePointer& table, std::uint64_t index, const Slot& slot);
  void set_l1(std::uint64_t index, std::uint64_t word);
  // The L1 entry leads nowhere any more; what the table names is the caller's.
  void drop_l2(std::uint64_t l1_index);

  // One owner less, as soon as nothing durable uses the clusters: after the next commit.
  void release(Clusters clusters);
  // What an L2 entry owns.
  [[nodiscard]] Clusters owned_by(const Slot& slot) const;
  void release(const Slot& slot) { release(owned_by(slot)); }

  // When the changes end, what they free at the end of the file is cut off: one call instead of holes punched
  // one by one. Only what they free themselves: what others left uncounted behind the end may be all that is
  // left of something.
  void cut_when_done() { cuts_ = true; }

  // Writes bytes to new clusters, counted but not durable; no clusters for no bytes.
  [[nodiscard]] base::Result<Clusters> place(base::ConstBytes bytes);
  [[nodiscard]] Clusters clusters_of(base::HostOffset at, std::uint64_t length) const;
  // Makes `l1`, which lies durably in `table`, the active L1 table of a disk of `size` bytes: one write of
  // the header, and durable. `l1` becomes the table before, whose clusters are still counted.
  [[nodiscard]] base::Result<void> switch_l1(std::vector<std::uint64_t>& l1, Clusters table,
                                             std::uint64_t size);

  // Makes everything durable. With lazy refcounts the counts may wait, unless `counts_too`.
  [[nodiscard]] base::Result<void> commit(bool counts_too = false);
  // To be called between changes: commits when much has gathered.
  [[nodiscard]] base::Result<void> relieve();
  // Ends the changes: everything durable, given up clusters counted down, the dirty bit cleared.
  [[nodiscard]] base::Result<void> finish();
  // Everything durable and counted, the dirty bit cleared: a state from which structures may be exchanged.
  [[nodiscard]] base::Result<void> settle() { return finish(); }

 private:
  [[nodiscard]] base::Result<Clusters> unless_damaged(base::Result<Clusters> found);
  [[nodiscard]] base::Result<TablePointer> new_l2(const TablePointer& copied);
  [[nodiscard]] base::Result<void> flush();
  [[nodiscard]] base::Result<void> write_l1();
  [[nodiscard]] base::Result<void> set_dirty(bool on);
  [[nodiscard]] base::Result<void> lower_replaced_tables(bool lazy);
  [[nodiscard]] base::Result<void> lower_released();
  void give_back_freed();
  void give_back(std::vector<Clusters> freed, bool cut);

  Image& image_;
  Refcounts refcounts_;
  std::set<std::uint64_t> changed_l1_;
  std::vector<Clusters> released_;
  std::vector<Clusters> replaced_tables_;  // given up for a copy
  std::vector<Clusters> held_;             // freed; to be given back when the changes end
  bool cuts_ = false;
  bool begun_ = false;
};

// L1 entries as they lie in the file.
[[nodiscard]] std::vector<std::byte> encode_l1(const std::vector<std::uint64_t>& l1);

}  // namespace cowvet::engine
