#include "analyzer/mapping_checks.hpp"

#include <algorithm>
#include <array>
#include <system_error>

#include <fmt/format.h>

namespace cowvet::analyzer {

using namespace findings::literals;
using base::HostOffset;
using findings::Finding;
using findings::RuleId;
using findings::Value;

namespace {

constexpr std::uint64_t endless = 1ULL
                                  << 63;  // the size of a disk for what is VM state: all of it is visible

// Which rule speaks of which problem of an entry. The first row that fits an entry's problem and kind counts.
struct ProblemRule {
  std::uint32_t problem;
  bool extended_only;
  bool (*fits)(const EntryRun&);
  RuleId rule;
};

bool any(const EntryRun&) { return true; }
bool compressed(const EntryRun& run) { return run.type == EntryType::compressed; }
bool zero_alloc(const EntryRun& run) { return run.type == EntryType::zero_alloc; }
// The offset's high bits put it past the end of the file as well; that is one fault, not two.
bool compressed_low(const EntryRun& run) {
  return compressed(run) && (run.problems & problem::high_bits) == 0;
}
bool not_compressed(const EntryRun& run) { return !compressed(run); }
bool aligned_plain(const EntryRun& run) {
  return !compressed(run) && (run.problems & problem::unaligned) == 0;
}

constexpr std::array problem_rules{
    ProblemRule{problem::reserved, false, any, "l2/reserved"_rule},
    ProblemRule{problem::unaligned, true, zero_alloc, "extl2/unaligned-without-data"_rule},
    ProblemRule{problem::unaligned, true, any, "extl2/unaligned-with-data"_rule},
    ProblemRule{problem::unaligned, false, zero_alloc, "l2/zero-unaligned"_rule},
    ProblemRule{problem::unaligned, false, not_compressed, "l2/data-unaligned"_rule},
    ProblemRule{problem::high_bits, false, any, "compressed/offset-high-bits"_rule},
    ProblemRule{problem::past_eof, false, compressed_low, "compressed/range-past-eof"_rule},
    ProblemRule{problem::past_eof, false, aligned_plain, "l2/past-eof"_rule},
    ProblemRule{problem::zero_in_v2, false, any, "l2/zero-flag-v2"_rule},
    ProblemRule{problem::copied_alone, false, any, "l2/copied-without-offset"_rule},
    ProblemRule{problem::zero_copied, false, any, "l2/zero-copied-without-offset"_rule},
    ProblemRule{problem::compressed_copied, false, any, "compressed/copied-set"_rule},
    ProblemRule{problem::extended_zero_flag, true, any, "extl2/zero-flag"_rule},
    ProblemRule{problem::alloc_and_zero, true, any, "extl2/alloc-and-zero"_rule},
    ProblemRule{problem::alloc_without_offset, true, any, "extl2/alloc-without-offset"_rule},
    ProblemRule{problem::compressed_bitmap, true, any, "extl2/compressed-bitmap"_rule},
    ProblemRule{problem::compressed_here, false, any, "compressed/in-data-file-image"_rule},
    ProblemRule{problem::host_differs, false, any, "datafile/host-offset"_rule},
    ProblemRule{problem::not_copied, false, any, "datafile/copied"_rule},
    ProblemRule{problem::too_many_sectors, false, any, "compressed/range-oversized"_rule},
};

}  // namespace

MappingChecks::MappingChecks(Image& image, const MappingWalk& walk, const MetadataMap& metadata,
                             LabelMap& labels, bool judge)
    : CountingVisitor(walk, labels),
      image_(image),
      metadata_(metadata),
      judge_(judge),
      findings_(image, walk.trees()),
      counts_(std::max(walk.jobs(), 1U)) {}

// Remembers the end of something that the metadata names; a pointer that no file explains says nothing of this one.
void MappingChecks::named(std::uint64_t begin, std::uint64_t length) {
  if (far_past_eof(begin, image_.eof)) return;
  const std::uint64_t end = base::saturating_add(begin, length);
  for (auto seen = end_.load(); end > seen && !end_.compare_exchange_weak(seen, end);) {
  }
  if (end > image_.eof && begin >= image_.eof) ++beyond_;
}

void MappingChecks::doubt(std::string reason) {
  const std::lock_guard guard(doubts_);
  image_.doubt(std::move(reason));
}

void MappingChecks::l1_entry(const Tree& tree, std::uint32_t, std::uint64_t index, format::L1Entry entry) {
  if (!judge_) return;
  const auto report = [&](RuleId rule, const EntryFindings::Detail& detail = {}) {
    findings_.l1(rule, tree, index, entry, detail);
  };
  if (entry.reserved() != 0) {
    report("l1/entry-reserved"_rule);
    doubt("an L1 entry has reserved bits set");
  }
  const auto table = entry.offset();
  if (table.raw() == 0) {
    if (entry.copied()) {
      report("l1/copied-without-offset"_rule);
      doubt("an L1 entry has lost its offset");
    }
  } else if (!geometry().aligned(table)) {
    report("l1/entry-unaligned"_rule);
    doubt("an L1 entry is not aligned");
  } else if (table.raw() >= image_.eof) {
    report("l1/entry-past-eof"_rule);
    doubt("an L1 entry points past the end of the file");
    if (entry.reserved() == 0) named(table.raw(), geometry().cluster_size());
  } else if (const auto owner = metadata_.owner(geometry().cluster_of(table))) {
    report("l1/points-at-metadata"_rule,
           [&] { return fmt::format("the cluster belongs to: {}", to_string(*owner)); });
    doubt("an L1 entry points at other metadata");
  }
}

void MappingChecks::group(const Group& group, unsigned worker) {
  CountingVisitor::group(group, worker);
  if (!judge_) return;
  for (const auto& use : group.uses) {
    table_references_ += use.refs_here;
    named(use.table.raw(), geometry().cluster_size());
    if (!use.active || use.copied == (use.refs == 1)) continue;
    if (!use.copied) {
      clear_copied_seen_ = true;
      continue;
    }
    const auto copied = format::l1_word["copied"];
    findings_.l1("l1/copied-set-shared"_rule, walk().trees()[use.trees.front()], group.l1_index,
                 format::L1Entry{copied.set(use.table.raw(), 1)},
                 [&] { return fmt::format("{} references to the L2 table", use.refs); });
  }
}

// What is wrong with the entry by itself.
void MappingChecks::judge_run(const Group& group, const TableUse& use, const EntryRun& run) {
  std::uint32_t left = run.problems;
  for (const auto& row : problem_rules) {
    if ((left & row.problem) == 0 || (row.extended_only && !geometry().extended_l2()) || !row.fits(run))
      continue;
    left &= ~row.problem;
    findings_.l2(row.rule, group, use, run);
  }
  constexpr std::uint32_t untrusted = problem::reserved | problem::unaligned | problem::past_eof |
                                      problem::high_bits | problem::copied_alone |
                                      problem::alloc_without_offset;
  if ((run.problems & untrusted) != 0) doubt("an L2 entry's offset can't be trusted");
}

// Where the disk ends and where the file ends.
void MappingChecks::judge_ends(const Group& group, const TableUse& use, const EntryRun& run) {
  const auto& tree = walk().trees()[use.trees.front()];
  const std::uint64_t guest = findings_.guest_of(group, run.first).raw();
  const std::uint64_t length = std::uint64_t{run.count} << geometry().cluster_bits();
  const bool disk = group.l1_index < geometry().l1_entries(tree.disk_size);  // else VM state
  if (disk && guest + length > tree.disk_size) {
    EntryRun behind = run;
    const std::uint64_t inside = tree.disk_size > guest ? geometry().clusters(tree.disk_size - guest) : 0;
    if (inside < run.count) {
      behind.first += static_cast<std::uint32_t>(inside);
      behind.count -= static_cast<std::uint32_t>(inside);
      behind.host += inside << geometry().cluster_bits();
      findings_.l2("l2/past-disk-end"_rule, group, use, behind);
    }
  }
  if (walk().rules().external_data) {
    if (run.type == EntryType::data && image_.data_file_size)
      judge_data_file_end(group, use, run, disk ? tree.disk_size : endless);
    return;
  }

  if (run.type == EntryType::compressed) {
    const format::CompressedRange range{HostOffset{run.host}, run.sectors};
    named(run.host, 1);
    const std::uint64_t end = base::saturating_add(run.host, range.length());
    // The last sector may be cut by the end of the file. Worse is a range with clusters that the file doesn't
    // have: when the guest cluster is overwritten, their refcounts are lowered, whoever has allocated them by
    // then.
    const auto clusters = [&](std::uint64_t bytes) {
      return base::divide_up(bytes, geometry().cluster_size());
    };
    if (run.host < image_.eof && end > image_.eof && end - image_.eof >= format::limits::sector)
      findings_.l2("compressed/range-past-eof"_rule, group, use, run, clusters(end) == clusters(image_.eof));
    if (image_.header.v2.crypt_method != 0)
      findings_.l2("compressed/in-encrypted-image"_rule, group, use, run);
    return;
  }
  named(run.host, length);
  if (run.type == EntryType::data && base::saturating_add(run.host, length) > image_.eof)
    judge_last_cluster(group, use, run, disk ? tree.disk_size : endless);
}

// The entries of a run whose visible bytes end behind the end of the external data file.
void MappingChecks::judge_data_file_end(const Group& group, const TableUse& use, const EntryRun& run,
                                        std::uint64_t disk_size) {
  const std::uint64_t guest = findings_.guest_of(group, run.first).raw();
  const std::uint64_t size = *image_.data_file_size;
  const std::uint64_t cluster = geometry().cluster_size();
  const std::uint64_t visible =
      disk_size > guest ? std::min<std::uint64_t>(run.count, geometry().clusters(disk_size - guest)) : 0;
  std::uint64_t there = size > run.host ? std::min(visible, (size - run.host) / cluster) : 0;
  if (there < visible) {  // the next one may be cut where the disk ends
    const std::uint64_t needed = std::min(cluster, disk_size - (guest + there * cluster));
    if (run.host + there * cluster + needed <= size) ++there;
  }
  if (there >= visible) return;
  EntryRun missing = run;
  missing.first += static_cast<std::uint32_t>(there);
  missing.count = static_cast<std::uint32_t>(visible - there);
  missing.host += there * cluster;
  findings_.l2("datafile/too-short"_rule, group, use, missing);
}

// A run of data whose last cluster is not whole in the file.
void MappingChecks::judge_last_cluster(const Group& group, const TableUse& use, const EntryRun& run,
                                       std::uint64_t disk_size) {
  EntryRun last = run;
  last.first += run.count - 1;
  last.count = 1;
  last.host += std::uint64_t{run.count - 1} << geometry().cluster_bits();
  if (last.host >= image_.eof) return;  // the past-eof rule has spoken
  const std::uint64_t there = image_.eof - last.host;
  bool needed = base::saturating_add(findings_.guest_of(group, last.first).raw(), there) < disk_size;
  if (geometry().extended_l2()) {
    const auto first_missing =
        static_cast<std::uint32_t>(base::divide_up(there, geometry().subcluster_size()));
    const std::uint32_t partly = there % geometry().subcluster_size() != 0 ? 1 : 0;
    const std::uint32_t allocated = format::Subclusters{run.subclusters}.allocated();
    const auto from = [&](std::uint32_t i) { return i < 32 ? allocated >> i : 0; };
    if (needed && from(first_missing) != 0)
      return findings_.l2("extl2/subcluster-past-eof"_rule, group, use, last);
    needed = needed && from(first_missing - partly) != 0;
  }
  const bool encrypted = image_.header.v2.crypt_method != 0;
  if (encrypted && needed)
    findings_.l2("crypt/eof-zeros"_rule, group, use, last);
  else
    findings_.l2("file/last-cluster-partial"_rule, group, use, last, !needed);
}

// What is wrong with a table as a whole. False: its entries mean nothing.
bool MappingChecks::judge_table(const Group& group, const TableUse& use, const Table& table) {
  const auto report = [&](RuleId rule, std::string detail = {}) {
    const auto first = static_cast<std::uint32_t>(table.begin / geometry().l2_entry_size());
    const std::uint64_t entries = table.length / geometry().l2_entry_size();
    Finding f{rule};
    f.where = findings_.naming().l2_table(group, use);
    f.host = {HostOffset{use.table.raw() + table.begin}, table.length};
    f.snapshot = findings_.naming().layer(walk().trees()[use.trees.front()]);
    f.detail = std::move(detail);
    findings_.naming().put_guest(f, use, findings_.guest_of(group, first),
                                 entries << geometry().cluster_bits());
    image_.report(std::move(f));
    // A hole is a table of zeros, and a write beside it makes it one: explain_leaks doubts both alike.
    if (rule != "file/metadata-hole"_rule) doubt("an L2 table can't be read as one");
  };
  if (table.os_error != 0) {
    report("file/io-error"_rule, std::generic_category().message(table.os_error));
    return false;
  }
  if (table.hole) {
    report("file/metadata-hole"_rule);
    return false;
  }
  if (table.missing != 0) report("l1/entry-partial-eof"_rule);
  if (table.looks.implausible())
    report("l2/table-implausible"_rule,
           fmt::format(
               "{} of {} entries look like something else; {} are believed, since what they name is in use",
               table.looks.foreign, table.looks.entries, table.believed));
  return true;
}

void MappingChecks::table(const Group& group, const TableUse& use, const Table& table, unsigned worker) {
  if (!judge_) return;
  if (table.begin == 0 && table.starts) {
    ++tables_;
    if (use.active) counts_[worker].next_host = 0;
  }
  // A table that is shown in pieces is left out: many layers differ there, and one of them has its entries.
  if (table.os_error == 0 && table.missing == 0 && table.runs.empty() && !table.looks.implausible() &&
      table.length == geometry().cluster_size())
    remember_empty(group, use, counts_[worker]);
  if (table.ends && !judge_table(group, use, table)) return;
  for (const auto& run : table.runs) {
    if (run.problems != 0) judge_run(group, use, run);
    if (run.type == EntryType::zero || run.type == EntryType::none) continue;
    if ((run.problems & (problem::unaligned | problem::past_eof | problem::high_bits)) == 0)
      judge_ends(group, use, run);
    else if ((run.problems & problem::past_eof) != 0 && (run.problems & problem::high_bits) == 0)
      named(run.host, geometry().cluster_size());
    if (run.type == EntryType::compressed) compressed_seen_.store(true, std::memory_order_relaxed);
    if (use.active) count(run, counts_[worker]);
  }
  if (use.active && table.ends && table.believed != 0) judge_behind_disk(group, use);
}

// Tables of the active layer behind the end of the disk that map something. Empty ones are left by every snapshot that
// was taken with VM state.
void MappingChecks::judge_behind_disk(const Group& group, const TableUse& use) {
  const auto active = std::ranges::find_if(use.trees, [&](auto t) { return walk().trees()[t].active; });
  const auto& tree = walk().trees()[*active];
  if (group.l1_index < geometry().l1_entries(tree.disk_size)) return;
  findings_.l1("l1/entries-past-disk"_rule, tree, group.l1_index, format::L1Entry{use.table.raw()});
}

void MappingChecks::count(const EntryRun& run, Counts& counts) {
  counts.allocated += run.count;
  if (run.type == EntryType::compressed) {
    ++counts.compressed;
    ++counts.fragmented;
    return;
  }
  if (counts.next_host != 0 && run.host != counts.next_host) ++counts.fragmented;
  counts.next_host = run.host + (std::uint64_t{run.count} << geometry().cluster_bits());
}

void MappingChecks::remember_empty(const Group& group, const TableUse& use, Counts& counts) {
  constexpr std::size_t most_trees = 16;
  EmptyTable empty{group.l1_index, use.table.raw(), use.trees};
  empty.trees.resize(std::min(empty.trees.size(), most_trees));
  if (counts.empty.size() == most_empty_tables) {
    if (!(empty < counts.empty.front())) return;
    std::pop_heap(counts.empty.begin(), counts.empty.end());
    counts.empty.pop_back();
  }
  counts.empty.push_back(std::move(empty));
  std::push_heap(counts.empty.begin(), counts.empty.end());
}

std::vector<EmptyTable> MappingChecks::empty_tables() const {
  std::vector<EmptyTable> all;
  for (const auto& c : counts_) all.insert(all.end(), c.empty.begin(), c.empty.end());
  std::sort(all.begin(), all.end());
  all.resize(std::min(all.size(), most_empty_tables));
  return all;
}

void MappingChecks::owned(const Group& group, std::span<const Owned> items, unsigned worker) {
  CountingVisitor::owned(group, items, worker);
  if (!judge_ || walk().rules().external_data) return;
  for (const auto& item : items) {
    if (!item.active || item.run.type == EntryType::compressed || item.run.copied == (item.refs == 1))
      continue;
    if (item.run.copied)
      findings_.l2("l2/copied-set-shared"_rule, group, group.uses[item.use], item.run, false,
                   [&] { return fmt::format("{} references", item.refs); });
    else
      clear_copied_seen_ = true;
  }
}

Statistics MappingChecks::statistics() const {
  Statistics sum;
  for (const auto& c : counts_) {
    sum.allocated_clusters += c.allocated;
    sum.fragmented_clusters += c.fragmented;
    sum.compressed_clusters += c.compressed;
  }
  return sum;
}

}  // namespace cowvet::analyzer
