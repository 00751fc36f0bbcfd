// Judges the mapping while it is walked: every L1 and L2 entry, COPIED flags that are set, the ends of disk and file.
// Counts the references of every cluster into the label map, and what qemu-img's counters count.
// Hands on: labels, statistics, and how far the structures say that the file should reach.
#pragma once
#include <atomic>
#include <cstdint>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "analyzer/counting.hpp"
#include "analyzer/entry_findings.hpp"
#include "analyzer/verdict.hpp"
#include "analyzer/walk.hpp"

namespace cowvet::analyzer {

// What the mapping claims of the file's length.
struct Reach {
  std::uint64_t end = 0;     // the highest end of something that is named, bytes
  std::uint64_t beyond = 0;  // structures and clusters named past the end of the file
};

// An L2 table without a single entry.
struct EmptyTable {
  std::uint64_t l1_index = 0;
  std::uint64_t table = 0;             // host offset
  std::vector<std::uint32_t> trees{};  // that name it there, the first few
  friend bool operator<(const EmptyTable& a, const EmptyTable& b) {
    return std::pair(a.l1_index, a.table) < std::pair(b.l1_index, b.table);
  }
};

class MappingChecks final : public CountingVisitor {
 public:
  // judge: report and count for the statistics; false for a further window of labels, where all that has been done.
  MappingChecks(Image& image, const MappingWalk& walk, const MetadataMap& metadata, LabelMap& labels,
                bool judge);

  void l1_entry(const Tree& tree, std::uint32_t index_of_tree, std::uint64_t index,
                format::L1Entry entry) override;
  void group(const Group& group, unsigned worker) override;
  void table(const Group& group, const TableUse& use, const Table& table, unsigned worker) override;
  void owned(const Group& group, std::span<const Owned> items, unsigned worker) override;

  [[nodiscard]] Statistics statistics() const;
  [[nodiscard]] Reach reach() const { return {end_.load(), beyond_.load()}; }
  // L2 tables, and the references to them from all L1 tables.
  [[nodiscard]] std::uint64_t tables() const { return tables_.load(); }
  [[nodiscard]] std::uint64_t table_references() const { return table_references_.load(); }
  [[nodiscard]] bool saw_compressed() const { return compressed_seen_.load(); }
  // The first few thousand, in order of their L1 indices.
  static constexpr std::size_t most_empty_tables = 4096;
  [[nodiscard]] std::vector<EmptyTable> empty_tables() const;
  // Whether the active layer has clear COPIED flags where one reference was counted: see copied_flags.hpp.
  [[nodiscard]] bool saw_clear_copied() const { return clear_copied_seen_.load(); }

 private:
  struct Counts {  // of one worker
    std::uint64_t allocated = 0, fragmented = 0, compressed = 0;
    std::uint64_t next_host =
        0;  // of the active layer's table at hand: where the next data cluster would follow
    std::vector<EmptyTable> empty{};  // a heap with the last of them on top
  };
  bool judge_table(const Group& group, const TableUse& use, const Table& table);
  void judge_run(const Group& group, const TableUse& use, const EntryRun& run);
  void judge_ends(const Group& group, const TableUse& use, const EntryRun& run);
  void judge_data_file_end(const Group& group, const TableUse& use, const EntryRun& run,
                           std::uint64_t disk_size);
  void judge_last_cluster(const Group& group, const TableUse& use, const EntryRun& run,
                          std::uint64_t disk_size);
  void judge_behind_disk(const Group& group, const TableUse& use);
  void count(const EntryRun& run, Counts& counts);
  void remember_empty(const Group& group, const TableUse& use, Counts& counts);
  void named(std::uint64_t begin, std::uint64_t length);
  void doubt(std::string reason);

  Image& image_;
  const MetadataMap& metadata_;
  const bool judge_;
  EntryFindings findings_;
  std::vector<Counts> counts_;
  std::atomic<std::uint64_t> end_{0};
  std::atomic<std::uint64_t> beyond_{0};
  std::atomic<std::uint64_t> tables_{0};
  std::atomic<std::uint64_t> table_references_{0};
  std::atomic<bool> compressed_seen_{false};
  std::atomic<bool> clear_copied_seen_{false};
  std::mutex doubts_;
};

}  // namespace cowvet::analyzer
