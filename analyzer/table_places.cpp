// 1. Another layer's table at the same index, with entries that the orphan has too, proves the index.
// 2. Tables are mostly allocated in the order of their indices: where all those of the active layer are, an orphan
// belongs between the tables that lie before and behind it in the file.
// 3. Otherwise any entry that leads nowhere will do, and all that is known is how many there are.
#include "analyzer/table_places.hpp"

#include <algorithm>
#include <optional>
#include <unordered_map>

#include <fmt/format.h>

namespace cowvet::analyzer {

using findings::GuestRange;
using format::L1Entry;

namespace {

constexpr std::size_t most_places = 8;         // in a finding
constexpr std::size_t most_copies = 1U << 14;  // tables of other layers that are read
constexpr std::size_t most_positions = 1U << 20;

struct KeyHash {
  std::size_t operator()(const NamedCluster& key) const {
    return static_cast<std::size_t>((key.cluster * 0x9e3779b97f4a7c15ULL) ^ key.entry);
  }
};

}  // namespace

TablePlaces::TablePlaces(Image& image, MappingWalk& walk, const MetadataMap& metadata, bool cut)
    : image_(image),
      walk_(walk),
      metadata_(metadata),
      geometry_(*image.geometry),
      naming_(image, walk.trees()),
      cut_(cut) {}

// Whether a table may be missing there.
bool TablePlaces::vacant(L1Entry entry) const {
  return !walk_.leads_to_table(entry) && !(cut_ && entry.offset().raw() >= image_.eof);
}

GuestRange TablePlaces::range(std::uint64_t index, const Tree& tree) const {
  const base::GuestOffset begin{index * geometry_.span()};
  const std::uint64_t length = tree.disk_size > begin.raw()
                                   ? std::min(geometry_.span(), tree.disk_size - begin.raw())
                                   : geometry_.span();
  return {begin, length, naming_.layer(tree)};
}

base::Result<void> TablePlaces::place(std::span<Orphan> orphans) {
  if (std::ranges::all_of(orphans, &Orphan::placed)) return {};
  if (auto done = read_active(); !done) return done;
  if (auto done = place_by_copies(orphans); !done) return done;
  std::vector<Orphan*> left;
  for (auto& orphan : orphans)
    if (!orphan.placed) left.push_back(&orphan);
  if (left.empty() || !image_.l1_usable) return {};
  leave_out_end(left);
  place_by_order(left);
  return {};
}

// Tables with entries behind the disk's end are none of its last range.
void TablePlaces::leave_out_end(std::span<const Orphan* const> orphans) {
  if (positions_.empty()) return;
  const std::uint64_t begin = positions_.back() * geometry_.span(), disk = image_.header.v2.size;
  if (begin >= disk || disk - begin >= geometry_.span()) return;
  const std::uint64_t entries = geometry_.clusters(disk - begin);
  if (std::ranges::all_of(orphans, [&](const Orphan* orphan) { return orphan->last >= entries; }))
    positions_.pop_back();
}

base::Result<void> TablePlaces::read_active() {
  if (!image_.l1_usable) return {};
  const std::uint64_t disk = geometry_.l1_entries(image_.header.v2.size);
  std::vector<std::uint64_t> clusters;
  auto done = walk_.visit_l1([&](std::uint64_t index, std::span<const L1Entry> entries) {
    if (index >= disk || index >= walk_.trees().front().entries) return;
    if (walk_.leads_to_table(entries[0])) {
      tables_.push_back({index, geometry_.cluster_of(entries[0].offset()).raw()});
      clusters.push_back(tables_.back().cluster);
    } else if (vacant(entries[0]) && positions_.size() < most_positions) {
      positions_.push_back(index);
    }
  });
  if (!done) return done;
  // A cluster that something else owns as well is no table: that entry leads nowhere either.
  ClusterKinds kinds(walk_, metadata_, std::move(clusters));
  if (auto collected = kinds.collect(); !collected) return collected;
  std::erase_if(tables_, [&](const Table& table) {
    const bool contested = kinds.of(table.cluster) == Kind::contested;
    if (contested && positions_.size() < most_positions)
      positions_.insert(std::ranges::lower_bound(positions_, table.index), table.index);
    return contested;
  });
  return {};
}

base::Result<void> TablePlaces::place_by_copies(std::span<Orphan> orphans) {
  const auto& trees = walk_.trees();
  if (trees.size() < 2) return {};
  std::unordered_map<NamedCluster, Orphan*, KeyHash> wanted;
  for (auto& orphan : orphans)
    if (!orphan.placed && !orphan.is_l1)
      for (const auto& key : orphan.sample)
        if (key.cluster != 0) wanted.try_emplace(key, &orphan);

  if (wanted.empty()) return {};

  std::vector<std::byte> bytes(static_cast<std::size_t>(geometry_.cluster_size()));
  std::vector<EntryRun> runs;
  std::size_t read = 0;
  const auto look = [&](std::uint64_t index, std::uint32_t vacant_tree, std::uint32_t holder, L1Entry entry) {
    const auto request = image_.device.read(entry.offset().raw(), bytes);
    if (request.os_error != 0 || request.hole) return;
    runs.clear();
    scan_l2(base::ConstBytes(bytes).first(static_cast<std::size_t>(request.valid)), walk_.rules(), 0, runs);
    for (const auto& run : runs) {
      if (!run.owns()) continue;
      for (std::uint32_t i = 0; i < run.count; ++i) {
        const auto found = wanted.find({run.first + i, (run.host >> geometry_.cluster_bits()) + i});
        if (found == wanted.end() || found->second->placed) continue;
        auto& orphan = *found->second;
        orphan.placed = true;
        if (trees[vacant_tree].active) std::erase(positions_, index);
        orphan.guest = {range(index, trees[vacant_tree])};
        orphan.where_from =
            fmt::format("it belongs to {}: {} names a table with the same entries",
                        naming_.l1_entry(trees[vacant_tree], index), naming_.l1_entry(trees[holder], index));
      }
    }
  };
  return walk_.visit_l1([&](std::uint64_t index, std::span<const L1Entry> entries) {
    std::optional<std::uint32_t> empty;
    std::vector<std::uint64_t> seen;
    for (std::uint32_t t = 0; t < entries.size() && !empty; ++t)
      if (index < std::min(trees[t].entries, geometry_.l1_entries(trees[t].disk_size)) && vacant(entries[t]))
        empty = t;
    if (!empty) return;
    for (std::uint32_t t = 0; t < entries.size() && read < most_copies; ++t) {
      if (!walk_.leads_to_table(entries[t]) ||
          std::ranges::find(seen, entries[t].offset().raw()) != seen.end())
        continue;
      seen.push_back(entries[t].offset().raw());
      ++read;
      look(index, *empty, t, entries[t]);
    }
  });
}

void TablePlaces::place_by_order(std::span<Orphan*> orphans) {
  const bool ordered = tables_.size() > 1 && std::ranges::is_sorted(tables_, {}, &Table::cluster);
  if (!ordered) return place_within(orphans, positions_, nullptr);
  std::vector<Orphan*> rest;  // between tables with no empty entry between their indices
  // Orphans with the same neighbours in the file share the entries between these.
  for (std::size_t i = 0; i < orphans.size();) {
    const auto behind = std::ranges::upper_bound(tables_, orphans[i]->cluster, {}, &Table::cluster);
    std::size_t end = i + 1;
    while (end < orphans.size() && (behind == tables_.end() || orphans[end]->cluster < behind->cluster))
      ++end;
    const auto from = behind == tables_.begin()
                          ? positions_.begin()
                          : std::ranges::upper_bound(positions_, std::prev(behind)->index);
    const auto to =
        behind == tables_.end() ? positions_.end() : std::ranges::lower_bound(positions_, behind->index);
    const auto group = orphans.subspan(i, end - i);
    if (from < to)
      place_within(group, {from, to}, "by the order of the tables in the file");
    else
      rest.insert(rest.end(), group.begin(), group.end());
    i = end;
  }
  if (!rest.empty()) place_within(rest, positions_, nullptr);
}

// The orphans belong to some of these entries, as far as is known. `by`: how these entries were chosen among all that
// lead nowhere.
void TablePlaces::place_within(std::span<Orphan*> orphans, std::span<const std::uint64_t> positions,
                               const char* by) {
  const auto& disk = walk_.trees().front();
  std::vector<GuestRange> ranges;
  for (std::size_t i = 0; i < positions.size(); ++i) {
    auto one = range(positions[i], disk);
    if (i > 0 && positions[i - 1] + 1 == positions[i])
      ranges.back().length += one.length;
    else if (ranges.size() < most_places)
      ranges.push_back(std::move(one));
    else
      break;
  }
  for (std::size_t i = 0; i < orphans.size(); ++i) {
    auto& orphan = *orphans[i];
    if (by != nullptr && orphans.size() == positions.size()) {
      orphan.guest = {range(positions[i], disk)};
      orphan.where_from = fmt::format("{} it belongs to l1[{}]", by, positions[i]);
      continue;
    }
    orphan.guest = ranges;
    if (positions.empty())
      orphan.where_from =
          "no L1 entry of the disk leads nowhere, so it was a snapshot's, or is an older copy";
    else if (orphans.size() == 1 && positions.size() == 1)
      orphan.where_from =
          fmt::format("l1[{}] is the only L1 entry of the disk that leads nowhere", positions[0]);
    else if (positions.size() == 1)
      orphan.where_from = fmt::format(
          "l1[{}] is the only L1 entry {} that leads nowhere, and {} lost tables may belong there; which "
          "does is not "
          "known",
          positions[0], by != nullptr ? "at this place in the file" : "of the disk", orphans.size());
    else
      orphan.where_from = fmt::format(
          "{} lost {} to any of {} L1 entries that lead nowhere{}, l1[{}] to l1[{}]; to which is not known",
          orphans.size(), orphans.size() == 1 ? "table belongs" : "tables belong", positions.size(),
          by != nullptr ? " between the neighbours in the file" : "", positions.front(), positions.back());
  }
}

}  // namespace cowvet::analyzer
