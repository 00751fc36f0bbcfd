// The mapping of an image, walked once for all its layers: active L1, every snapshot's L1, and each L2 table once,
// however many of them share it. Promises: bounded memory; tables in holes cost nothing; visitors are called from
// several threads, every (L1 index) group exactly once.
#pragma once
#include <algorithm>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "analyzer/image.hpp"
#include "analyzer/l2_scan.hpp"
#include "analyzer/metadata_map.hpp"
#include "base/result.hpp"

namespace cowvet::analyzer {

// An L1 table and the layers that use it.
struct Tree {
  base::HostOffset l1;
  std::uint64_t declared = 0;  // entries that the header or the snapshot claims
  std::uint64_t entries = 0;   // of them, those that lie below the end of the file
  bool active = false;
  std::vector<std::uint32_t> snapshots{};  // indices into Image::snapshots
  std::uint64_t disk_size = 0;             // of the (first) layer: what lies behind is VM state
  [[nodiscard]] std::uint32_t refs() const {
    return static_cast<std::uint32_t>(snapshots.size()) + (active ? 1 : 0);
  }
};

// How the header says that L2 entries are to be read.
[[nodiscard]] ScanRules rules_of(const Image& image);

// All L1 tables that can be walked, the active one first.
[[nodiscard]] std::vector<Tree> trees_of(const Image& image);

// One L2 table at one L1 index.
struct TableUse {
  base::HostOffset table;
  std::vector<std::uint32_t> trees{};  // that name it there, ascending
  std::uint32_t refs = 0;  // of this table's contents: from here, and from other indices where it is repeated
  std::uint32_t refs_here = 0;  // of them, those from this index
  bool active = false;          // the active layer is among them
  bool copied = false;          // the active layer's entry has COPIED
  bool first = true;            // no earlier index names the table
};

// Entries that own host space, the same in one or several tables of a group.
struct Owned {
  EntryRun run;
  std::uint32_t refs = 0;
  bool active = false;                // in the active layer's table
  std::uint32_t use = 0;              // a use of the group that holds it: the active one, if there
  std::vector<std::uint32_t> uses{};  // all of them, when there are several
};

struct Group {
  std::uint64_t l1_index = 0;
  std::vector<TableUse> uses{};
};

// What is done with the walk. `worker` tells threads apart.
class Visitor {
 public:
  Visitor() = default;
  Visitor(const Visitor&) = delete;
  Visitor& operator=(const Visitor&) = delete;
  virtual ~Visitor() = default;
  // Every L1 entry that is not zero, usable or not.
  virtual void l1_entry(const Tree&, std::uint32_t /*tree*/, std::uint64_t /*index*/, format::L1Entry) {}
  // All tables that are named at one index, before any of them is read. A repeated table is read, and shown below, only
  // at the first of its indices.
  virtual void group(const Group&, unsigned /*worker*/) {}
  // A table of a group as it was read: its runs, whether it is incomplete, a hole or implausible. Large tables in which
  // many layers differ are shown in pieces. A piece with very many runs is shown in several calls, some runs in each.
  struct Table {
    const std::vector<EntryRun>& runs;
    std::uint64_t begin = 0;  // the piece, in bytes of the table
    std::uint64_t length = 0;
    Looks looks = {};   // of an implausible one, only entries that the refcounts confirm are among the runs
    bool hole = false;  // the whole table lies in a hole of the file
    int os_error = 0;
    std::uint64_t missing = 0;   // bytes of the piece that are behind the end of the file
    bool starts = true;          // the first call for the piece
    bool ends = true;            // the last one
    std::uint64_t believed = 0;  // at the end: the entries among the runs of all calls
  };
  virtual void table(const Group&, const TableUse&, const Table&, unsigned /*worker*/) {}
  // What the group owns, each host cluster at a guest position once; called after table() for all its uses,
  // many of them a piece, or a call, at a time.
  virtual void owned(const Group&, std::span<const Owned>, unsigned /*worker*/) {}
};

class MappingWalk {
 public:
  // All of what it is given outlives it; the refcounts are asked only about tables that are damaged.
  MappingWalk(Image& image, const MetadataMap& metadata, const Refcounts& refcounts, unsigned jobs);
  // An Error only when cancelled or too expensive.
  [[nodiscard]] base::Result<void> run(Visitor& visitor) { return run(visitor, jobs_); }
  // The same on one thread: the visitor is called in ascending order of L1 indices.
  [[nodiscard]] base::Result<void> run_in_order(Visitor& visitor) { return run(visitor, 1); }
  [[nodiscard]] const std::vector<Tree>& trees() const { return trees_; }
  [[nodiscard]] unsigned jobs() const { return jobs_; }
  [[nodiscard]] const ScanRules& rules() const { return rules_; }
  // A table that several L1 indices name: the references from all of them, and who they are.
  struct Repeat {
    struct Place {
      std::uint32_t index;
      std::uint32_t tree;  // the first one that names it there
    };
    base::HostOffset table;
    std::uint32_t refs = 0;
    std::uint32_t times = 0;
    std::uint32_t first_place = 0, place_count = 0;  // see places()
  };
  // In ascending order of the tables.
  [[nodiscard]] const std::vector<Repeat>& repeats() const { return repeats_; }
  // The first few places that name a repeated table, in ascending order.
  [[nodiscard]] std::span<const Repeat::Place> places(const Repeat& repeat) const {
    return std::span(places_).subspan(repeat.first_place, repeat.place_count);
  }
  // Shows the entries of all L1 tables, an entry a tree, index by index; a tree that ends before has zeros there.
  using L1Visit = std::function<void(std::uint64_t index, std::span<const format::L1Entry> entries)>;
  [[nodiscard]] base::Result<void> visit_l1(const L1Visit& visit);
  // Whether an L1 entry leads to a table that can be read as one.
  [[nodiscard]] bool leads_to_table(format::L1Entry entry) const;

 private:
  static constexpr std::uint64_t most_uses = 1ULL << 16;  // of tables, in memory at once
  // L1 indices whose groups are held at once: all tables that they name together are no more than `most_uses`.
  [[nodiscard]] std::uint64_t indices_at_once() const {
    return std::clamp<std::uint64_t>(most_uses / std::max<std::size_t>(trees_.size(), 1), 1, 2048);
  }
  // The words of all L1 tables for the indices [first, end).
  struct Slice {
    std::uint64_t first = 0, end = 0;
    std::vector<std::byte> bytes;  // a row of (end - first) words a tree
  };
  struct Worker;
  [[nodiscard]] base::Result<void> run(Visitor& visitor, unsigned jobs);
  struct Naming;
  [[nodiscard]] base::Result<void> find_repeats();
  void keep_repeats(std::vector<Naming>& seen);
  [[nodiscard]] const Repeat* repeat_of(base::HostOffset table) const;
  // The groups of the indices [first, end); every L1 entry that is not zero is shown to `visitor`, if there is one.
  [[nodiscard]] std::vector<Group> groups_of(const Slice& slice, std::uint64_t first, std::uint64_t end,
                                             Visitor* visitor) const;
  // Fills the rows of these trees in slice_.
  void read_rows(std::size_t first_tree, std::size_t end_tree);
  using SliceUse = std::function<base::Result<void>(const Slice&)>;
  [[nodiscard]] base::Result<void> for_each_slice(const SliceUse& use);
  void visit(const std::vector<Group>& groups, Visitor& visitor, Worker& worker, unsigned id) const;
  [[nodiscard]] bool confirmed(const EntryRun& run) const;

  Image& image_;
  const MetadataMap& metadata_;
  const Refcounts& refcounts_;
  unsigned jobs_;
  ScanRules rules_;
  std::vector<Tree> trees_;
  std::uint64_t longest_ = 0;  // entries of the longest L1 table
  std::vector<Repeat> repeats_;
  std::vector<Repeat::Place> places_;
  bool repeats_known_ = false;
  std::uint64_t tables_ = 0;  // that a walk reads
  Slice slice_;               // the one read last; L1 tables that fit into one are read once
};

}  // namespace cowvet::analyzer
