// 1. The L1 tables of all layers are read side by side, a slice of indices at a time.
// 2. At each index the layers that name the same L2 table are put together: that table is read once.
// 3. Where layers name different tables at one index, what the tables own is merged position by position: a
// cluster that
//    snapshots share at one guest position is shown once, with all its references.
#include "analyzer/walk.hpp"

#include <algorithm>
#include <functional>
#include <limits>
#include <numeric>
#include <ranges>

#include <fmt/format.h>

#include "analyzer/refcounts.hpp"
#include "base/parallel.hpp"

namespace cowvet::analyzer {

using namespace findings::literals;
using format::L1Entry;

namespace {

constexpr std::uint64_t slice_bytes = 4ULL << 20;  // L1 words in memory at once
constexpr std::size_t rows_at_once = 4096;         // of L1 tables, read in one batch
constexpr std::uint64_t batch_bytes = 1ULL
                                      << 20;  // L2 bytes a worker reads at once, when there are few workers
constexpr std::uint64_t merge_entries = 1ULL << 16;  // entries of a group that are merged at once
constexpr std::size_t runs_at_once = 8192;           // shown to the visitor: a whole table of usual size
constexpr std::size_t owned_at_once = 1024;          // the same of what is owned
constexpr std::uint64_t most_tasks = 4096;           // of a slice: every thread has work until its end
constexpr std::uint64_t all_buffers = 16ULL << 20;   // bytes that all workers may take

// How many bytes of tables each of so many workers reads at once.
std::uint64_t batch_of(unsigned jobs) {
  return std::clamp<std::uint64_t>(all_buffers / 2 / std::max(jobs, 1U), batch_bytes / 16, batch_bytes);
}

std::uint64_t entries_below(std::uint64_t eof, base::HostOffset table, std::uint64_t entries) {
  return table.raw() < eof ? std::min(entries, (eof - table.raw()) / 8) : 0;
}

// Where a group has the use of a table. Few tables are looked through; of many, a map is kept, since thousands of
// snapshots may all differ.
class UseIndex {
 public:
  void clear() { known_.clear(); }
  std::size_t find_or_add(std::vector<TableUse>& uses, base::HostOffset table) {
    std::size_t at = uses.size();
    if (uses.size() < few) {
      at = static_cast<std::size_t>(std::ranges::find(uses, table, &TableUse::table) - uses.begin());
    } else {
      for (std::size_t i = known_.size(); i < uses.size(); ++i) known_.emplace(uses[i].table.raw(), i);
      at = known_.try_emplace(table.raw(), uses.size()).first->second;
    }
    if (at == uses.size()) uses.push_back({.table = table});
    return at;
  }

 private:
  static constexpr std::size_t few = 32;
  std::unordered_map<std::uint64_t, std::size_t> known_;
};

}  // namespace

std::vector<Tree> trees_of(const Image& image) {
  std::vector<Tree> trees;
  trees.reserve(image.snapshots.size() + 1);
  const auto add = [&](base::HostOffset l1, std::uint64_t declared, std::uint64_t disk_size) -> Tree& {
    trees.push_back({.l1 = l1,
                     .declared = declared,
                     .entries = entries_below(image.eof, l1, declared),
                     .disk_size = disk_size});
    return trees.back();
  };
  const auto& header = image.header.v2;
  if (image.l1_usable) add(header.l1_table_offset, header.l1_size, header.size).active = true;
  std::unordered_map<std::uint64_t, std::size_t>
      by_offset;  // of snapshots' L1 tables: hostile images share them
  for (std::uint32_t i = 0; i < image.snapshots.size(); ++i) {
    const auto& s = image.snapshots[i];
    if (!s.l1_usable) continue;
    const auto [known, fresh] = by_offset.try_emplace(s.data.entry.l1_table_offset.raw(), trees.size());
    if (!fresh && trees[known->second].declared == s.data.entry.l1_size) {
      trees[known->second].snapshots.push_back(i);
      continue;
    }
    add(s.data.entry.l1_table_offset, s.data.entry.l1_size, s.data.disk_size_bytes().value_or(header.size))
        .snapshots.push_back(i);
  }
  return trees;
}

ScanRules rules_of(const Image& image) {
  return {.geometry = *image.geometry,
          .eof = image.eof,
          .version2 = !image.header.has_v3(),
          .external_data = image.header.external_data_file()};
}

MappingWalk::MappingWalk(Image& image, const MetadataMap& metadata, const Refcounts& refcounts, unsigned jobs)
    : image_(image),
      metadata_(metadata),
      refcounts_(refcounts),
      jobs_(jobs),
      rules_(rules_of(image)),
      trees_(trees_of(image)) {
  for (const auto& tree : trees_) longest_ = std::max(longest_, tree.entries);
}

bool MappingWalk::leads_to_table(L1Entry entry) const {
  const auto table = entry.offset();
  return table.raw() != 0 && rules_.geometry.aligned(table) && table.raw() < rules_.eof &&
         !metadata_.owner(rules_.geometry.cluster_of(table));
}

void MappingWalk::read_rows(std::size_t first_tree, std::size_t end_tree) {
  const std::uint64_t width = slice_.end - slice_.first;
  std::vector<storage::ReadRequest> requests;
  requests.reserve(end_tree - first_tree);
  for (std::size_t t = first_tree; t < end_tree; ++t) {
    if (trees_[t].entries <= slice_.first) continue;
    const auto count = static_cast<std::size_t>(std::min(trees_[t].entries, slice_.end) - slice_.first);
    requests.push_back(
        {.offset = trees_[t].l1.raw() + slice_.first * 8,
         .into = std::span(slice_.bytes).subspan(t * static_cast<std::size_t>(width) * 8, count * 8)});
  }
  image_.device.read(requests);
  for (const auto& r : requests) {
    if (r.os_error == 0 || repeats_known_) continue;
    image_.report(findings::Finding{"file/io-error"_rule}
                      .at("l1")
                      .on(base::HostOffset{r.offset}, r.into.size())
                      .saying(std::generic_category().message(r.os_error)));
    image_.doubt("an L1 table can't be read");
  }
}

base::Result<void> MappingWalk::for_each_slice(const SliceUse& use) {
  if (trees_.empty() || longest_ == 0) return {};
  std::uint64_t all = 0;
  for (const auto& tree : trees_) all += tree.entries * 8;
  if (all > (64ULL << 20) + 16 * image_.device.allocated())
    return base::fail(base::ErrorKind::limit,
                      "the L1 tables overlap each other so often that walking them is too expensive");

  const std::uint64_t step = std::clamp<std::uint64_t>(slice_bytes / 8 / trees_.size(),
                                                       std::min<std::uint64_t>(16, longest_), longest_);
  for (std::uint64_t first = 0; first < longest_; first += step) {
    const std::uint64_t end = std::min(longest_, first + step);
    if (slice_.bytes.empty() || slice_.first != first || slice_.end != end) {
      slice_ = {first, end,
                std::vector<std::byte>(static_cast<std::size_t>((end - first) * 8 * trees_.size()))};
      for (std::size_t t = 0; t < trees_.size(); t += rows_at_once)
        read_rows(t, std::min(trees_.size(), t + rows_at_once));
    }
    if (auto done = use(slice_); !done) return done;
  }
  return {};
}

std::vector<Group> MappingWalk::groups_of(const Slice& slice, std::uint64_t first, std::uint64_t end,
                                          Visitor* visitor) const {
  constexpr std::uint64_t stretch =
      512;  // entries: of a long table most are zeros, which are passed over at once
  std::vector<Group> groups;
  const auto width = static_cast<std::size_t>(slice.end - slice.first);
  const base::BigEndianTable<std::uint64_t> words(slice.bytes);
  std::vector<std::uint32_t> holding;  // trees with an entry in the stretch
  UseIndex uses;
  for (std::uint64_t begin = first; begin < end && !image_.progress.stop_requested(); begin += stretch) {
    const std::uint64_t stop = std::min(begin + stretch, end);
    const auto inner = static_cast<std::size_t>(begin - slice.first);
    holding.clear();
    for (std::uint32_t t = 0; t < trees_.size(); ++t)
      if (begin < trees_[t].entries &&
          !base::all_zero(base::ConstBytes(slice.bytes)
                              .subspan((t * width + inner) * 8, static_cast<std::size_t>(stop - begin) * 8)))
        holding.push_back(t);
    for (std::uint64_t index = begin; index < stop && !holding.empty(); ++index) {
      Group group{.l1_index = index};
      uses.clear();
      std::size_t recent = 0;  // layers mostly name the table that the layer before named
      for (const auto t : holding) {
        if (index >= trees_[t].entries) continue;
        const L1Entry entry{words[t * width + static_cast<std::size_t>(index - slice.first)]};
        if (entry.word == 0) continue;
        if (visitor != nullptr) visitor->l1_entry(trees_[t], t, index, entry);
        if (recent >= group.uses.size() || group.uses[recent].table != entry.offset()) {
          if (!leads_to_table(entry)) continue;
          recent = uses.find_or_add(group.uses, entry.offset());
        }
        auto& use = group.uses[recent];
        use.trees.push_back(t);
        use.refs_here = use.refs += trees_[t].refs();
        if (trees_[t].active) {
          use.active = true;
          use.copied = entry.copied();
        }
      }
      if (!group.uses.empty()) groups.push_back(std::move(group));
    }
  }
  return groups;
}

base::Result<void> MappingWalk::visit_l1(const L1Visit& visit) {
  std::vector<L1Entry> entries(trees_.size());
  return for_each_slice([&](const Slice& slice) -> base::Result<void> {
    const auto width = static_cast<std::size_t>(slice.end - slice.first);
    const base::BigEndianTable<std::uint64_t> words(slice.bytes);
    for (std::size_t i = 0; i < width && !image_.progress.stop_requested(); ++i) {
      for (std::size_t t = 0; t < entries.size(); ++t) entries[t] = L1Entry{words[t * width + i]};
      visit(slice.first + i, entries);
    }
    return {};
  });
}

// A thread's buffers.
struct MappingWalk::Worker {
  std::vector<std::byte> bytes;
  std::vector<storage::ReadRequest> requests;
  std::vector<std::vector<EntryRun>> runs;  // one a use of the group at hand
  std::vector<Owned> owned;
};

namespace {

// What one table of a group owns, at the position that the merge has reached.
struct Lane {
  const std::vector<EntryRun>* runs;
  std::size_t at = 0;
  std::uint32_t use = 0;
  void skip() {  // to the next run that owns something
    while (at < runs->size() && !(*runs)[at].owns()) ++at;
  }
  [[nodiscard]] const EntryRun* run() const { return at < runs->size() ? &(*runs)[at] : nullptr; }
};

EntryRun part_of(const EntryRun& run, std::uint32_t first, std::uint32_t end, std::uint32_t cluster_bits) {
  EntryRun part = run;
  part.host += std::uint64_t{first - run.first} << cluster_bits;
  part.first = first;
  part.count = end - first;
  return part;
}

// Merges what the tables of a group own; show() takes what is in `out`, whenever that is much.
template <class Show>
void merge_lanes(const Group& group, std::vector<Lane>& lanes, std::uint32_t cluster_bits,
                 std::vector<Owned>& out, Show&& show) {
  struct Part {
    EntryRun run;
    std::uint32_t use;
    [[nodiscard]] auto place() const {
      return std::tuple(run.type == EntryType::compressed, run.host, run.sectors);
    }
  };
  std::vector<Part> parts;
  for (std::uint32_t at = 0;;) {
    std::uint32_t begin = ~0U;
    for (auto& lane : lanes) {
      lane.skip();
      while (lane.run() != nullptr && lane.run()->first + lane.run()->count <= at) {
        ++lane.at;
        lane.skip();
      }
      if (lane.run() != nullptr) begin = std::min(begin, std::max(at, lane.run()->first));
    }
    if (begin == ~0U) return;
    if (out.size() >= owned_at_once) show();
    std::uint32_t end = ~0U;  // up to where nothing changes
    for (const auto& lane : lanes)
      if (const auto* run = lane.run())
        end = std::min(end, run->first > begin ? run->first : run->first + run->count);
    parts.clear();
    for (const auto& lane : lanes)
      if (const auto* run = lane.run(); run != nullptr && run->first <= begin)
        parts.push_back({part_of(*run, begin, end, cluster_bits), lane.use});
    std::ranges::sort(parts, {}, [](const Part& p) { return std::tuple(p.place(), p.use); });
    for (std::size_t i = 0; i < parts.size();) {
      Owned item{.run = parts[i].run, .refs = 0, .active = false, .use = parts[i].use};
      std::size_t j = i;
      for (; j < parts.size() && parts[j].place() == parts[i].place(); ++j) {
        const auto& use = group.uses[parts[j].use];
        item.refs += use.refs;
        item.uses.push_back(parts[j].use);
        if (use.active) {  // the active layer's view of the entry counts
          item.active = true;
          item.use = parts[j].use;
          item.run = parts[j].run;
        }
      }
      i = j;
      out.push_back(std::move(item));
    }
    at = end;
  }
}

std::uint64_t entries_of(const std::vector<EntryRun>& runs) {
  return std::transform_reduce(runs.begin(), runs.end(), std::uint64_t{0}, std::plus{},
                               [](const EntryRun& run) { return std::uint64_t{run.count}; });
}

}  // namespace

// Whether entries of a table that was overwritten, at least in part, are what is left of it: what they name is in use.
bool MappingWalk::confirmed(const EntryRun& run) const {
  if (!run.owns() || foreign(run)) return false;
  if (rules_.external_data) return run.problems == 0;
  const auto [first, count] = host_clusters(run, rules_.geometry);
  for (std::uint64_t c = first; c < first + count; ++c)
    if (refcounts_.stored(c).value_or(run.problems == 0 ? 1 : 0) == 0) return false;
  return true;
}

void MappingWalk::visit(const std::vector<Group>& groups, Visitor& visitor, Worker& worker,
                        unsigned id) const {
  const auto& g = rules_.geometry;
  const std::uint64_t table_bytes = g.cluster_size();
  const std::uint64_t batch = batch_of(jobs_);

  const auto in_hole = [&](base::HostOffset table) {
    const auto extent = image_.device.extent(table.raw());
    return extent.hole && extent.end >= std::min(table.raw() + table_bytes, rules_.eof);
  };

  const auto show_owned = [&](const Group& group) {
    if (!worker.owned.empty()) visitor.owned(group, worker.owned, id);
    worker.owned.clear();
  };
  // What the only table of a group owns.
  const auto show_runs = [&](const Group& group, const std::vector<EntryRun>& runs) {
    const auto& use = group.uses.front();
    for (const auto& run : runs) {
      if (!run.owns()) continue;
      if (worker.owned.size() == owned_at_once) show_owned(group);
      worker.owned.push_back({.run = run, .refs = use.refs, .active = use.active, .use = 0});
    }
    show_owned(group);
  };

  // Shows the only table of a group when it has too many runs to keep them all: first it is scanned to learn how it
  // looks as a whole, then once more to be shown.
  const auto show_at_length = [&](const Group& group, Visitor::Table table, base::ConstBytes bytes,
                                  std::uint64_t guest) {
    auto& runs = worker.runs.front();
    const auto entries = static_cast<std::uint32_t>(bytes.size() / g.l2_entry_size());
    const auto next = [&](std::uint32_t at) {
      runs.clear();
      return scan_l2(bytes, rules_, guest, runs, at, runs_at_once);
    };
    table.looks = {};
    for (std::uint32_t at = 0; at < entries;) {
      at = next(at);
      table.looks += looks_of(runs);
    }
    for (std::uint32_t at = 0; at < entries;) {
      table.starts = at == 0;
      at = next(at);
      table.ends = at >= entries;
      if (table.looks.implausible())
        std::erase_if(runs, [&](const EntryRun& run) { return !confirmed(run); });
      table.believed += entries_of(runs);
      visitor.table(group, group.uses.front(), table, id);
      show_runs(group, runs);
    }
  };

  // Scans one piece [first, first + length) bytes of all tables of a group that has been read, and shows it.
  const auto show = [&](const Group& group, std::span<const storage::ReadRequest> read, std::uint64_t first) {
    const std::uint64_t guest = group.l1_index * g.span() + first / g.l2_entry_size() * g.cluster_size();
    const bool alone = group.uses.size() == 1;
    if (worker.runs.size() < group.uses.size()) worker.runs.resize(group.uses.size());
    std::vector<Lane> lanes;
    for (std::size_t u = 0; u < group.uses.size(); ++u) {
      auto& runs = worker.runs[u];
      runs.clear();
      Visitor::Table table{
          .runs = runs,
          .begin = first,
          .length = read[u].into.size(),
          .hole = read[u].hole && (read[u].into.size() == table_bytes || in_hole(group.uses[u].table)),
          .os_error = read[u].os_error,
          .missing = read[u].into.size() - read[u].valid};
      if (!read[u].hole && read[u].os_error == 0) {
        const auto bytes = read[u].into.first(static_cast<std::size_t>(read[u].valid));
        const auto most = alone ? runs_at_once : std::numeric_limits<std::size_t>::max();
        const std::uint64_t scanned = scan_l2(bytes, rules_, guest, runs, 0, most);
        if (scanned < bytes.size() / g.l2_entry_size()) return show_at_length(group, table, bytes, guest);
      }
      if (first != 0)
        for (auto& run : runs) run.first += static_cast<std::uint32_t>(first / g.l2_entry_size());
      table.looks = looks_of(runs);
      if (table.looks.implausible())
        std::erase_if(runs, [&](const EntryRun& run) { return !confirmed(run); });
      table.believed = entries_of(runs);
      visitor.table(group, group.uses[u], table, id);
      lanes.push_back({&runs, 0, static_cast<std::uint32_t>(u)});
    }
    if (alone) return show_runs(group, worker.runs.front());
    merge_lanes(group, lanes, g.cluster_bits(), worker.owned, [&] { show_owned(group); });
    show_owned(group);
  };

  // Reads a piece of the tables of the groups [from, to) in one batch.
  const auto read = [&](std::size_t from, std::size_t to, std::uint64_t first, std::uint64_t length) {
    std::size_t count = 0;
    for (std::size_t i = from; i < to; ++i) count += groups[i].uses.size();
    worker.bytes.resize(std::max(worker.bytes.size(), static_cast<std::size_t>(count * length)));
    worker.requests.clear();
    worker.requests.reserve(count);
    for (std::size_t i = from; i < to; ++i)
      for (const auto& use : groups[i].uses)
        worker.requests.push_back(
            {.offset = use.table.raw() + first,
             .into = std::span(worker.bytes)
                         .subspan(worker.requests.size() * static_cast<std::size_t>(length),
                                  static_cast<std::size_t>(length))});
    image_.device.read(worker.requests);
    image_.progress.advance(count * length);
  };

  for (std::size_t from = 0; from < groups.size() && !image_.progress.stop_requested();) {
    const std::uint64_t uses = groups[from].uses.size();
    if (uses * (table_bytes / g.l2_entry_size()) > std::max(merge_entries, g.l2_entries())) {
      // Many layers differ here: go through their tables a piece at a time.
      const std::uint64_t piece =
          std::max<std::uint64_t>(merge_entries / std::bit_ceil(uses), 2) * g.l2_entry_size();
      for (std::uint64_t first = 0; first < table_bytes; first += piece) {
        read(from, from + 1, first, std::min(piece, table_bytes));
        show(groups[from], worker.requests, first);
      }
      ++from;
      continue;
    }
    std::size_t to = from;
    for (std::uint64_t sum = 0; to < groups.size(); ++to) {
      sum += groups[to].uses.size() * table_bytes;
      if (to > from && sum > batch) break;
    }
    read(from, to, 0, table_bytes);
    std::span<const storage::ReadRequest> rest(worker.requests);
    for (; from < to; ++from) {
      show(groups[from], rest.first(groups[from].uses.size()), 0);
      rest = rest.subspan(groups[from].uses.size());
    }
  }
}

base::Result<void> MappingWalk::run(Visitor& visitor, unsigned jobs) {
  if (!repeats_known_) {
    if (auto found = find_repeats(); !found) return found;
    repeats_known_ = true;
  }
  image_.progress.expect(tables_ << rules_.geometry.cluster_bits());
  // Each thread holds the uses of a step, which are many where thousands of layers differ; and tables, with their runs.
  const std::uint64_t of_each = std::max(batch_of(jobs_), rules_.geometry.cluster_size()) +
                                (trees_.size() > 1 ? merge_entries : runs_at_once) * sizeof(EntryRun) +
                                owned_at_once * sizeof(Owned);
  const std::uint64_t most =
      std::min(most_uses / std::max<std::size_t>(trees_.size(), 1), all_buffers / of_each);
  jobs = static_cast<unsigned>(std::clamp<std::uint64_t>(most, 1, std::max(jobs, 1U)));
  std::vector<Worker> workers(std::max(jobs, 1U));
  return for_each_slice([&](const Slice& slice) -> base::Result<void> {
    // As many indices a task as are read at once; of a long table more, since each task costs some time too.
    const std::uint64_t read_at_once = batch_of(jobs_) >> rules_.geometry.cluster_bits();
    const std::uint64_t shared_out = (slice.end - slice.first) / most_tasks;
    const std::uint64_t step =
        std::clamp<std::uint64_t>(std::max(read_at_once, shared_out), 1, indices_at_once());
    const auto tasks = static_cast<std::size_t>(base::divide_up(slice.end - slice.first, step));
    base::parallel_for(jobs, tasks, [&](std::size_t task, unsigned id) {
      if (image_.progress.stop_requested()) return;
      const std::uint64_t first = slice.first + task * step;
      auto groups = groups_of(slice, first, std::min(slice.end, first + step), &visitor);
      for (auto& group : groups) {
        for (auto& use : group.uses)
          if (const auto* repeat = repeat_of(use.table)) {
            use.refs = repeat->refs;
            use.first = places(*repeat).front().index == group.l1_index;
          }
        visitor.group(group, id);
        std::erase_if(group.uses, [](const TableUse& use) { return !use.first; });
      }
      std::erase_if(groups, [](const Group& group) { return group.uses.empty(); });
      visit(groups, visitor, workers[id], id);
    });
    if (image_.progress.stop_requested()) return base::fail(base::ErrorKind::cancelled, "stopped on request");
    return {};
  });
}

}  // namespace cowvet::analyzer
