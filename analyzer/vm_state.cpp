#include "analyzer/vm_state.hpp"

#include <algorithm>
#include <vector>

#include <fmt/format.h>

#include "analyzer/header_checks.hpp"
#include "analyzer/snapshot_entry.hpp"
#include "base/bytes.hpp"

namespace cowvet::analyzer {

using namespace findings::literals;
using findings::Value;

namespace {

constexpr std::size_t most_state_ranges = 16;       // that a finding names
constexpr std::uint64_t l1_chunk = 64ULL << 10;     // bytes of an L1 table read at once
constexpr std::uint64_t hole_budget = 64ULL << 20;  // for tables that lie in holes

// Guest clusters that were counted, and the ranges that they form.
class StateRanges {
 public:
  StateRanges(std::uint64_t cluster_size, std::string snapshot)
      : cluster_size_(cluster_size), snapshot_(std::move(snapshot)) {}

  void add(std::uint64_t guest, std::uint64_t clusters) {
    clusters_ += clusters;
    const std::uint64_t length = clusters * cluster_size_;
    if (!ranges_.empty() && ranges_.back().begin.raw() + ranges_.back().length == guest)
      ranges_.back().length += length;
    else if (ranges_.size() < most_state_ranges)
      ranges_.push_back({base::GuestOffset{guest}, length, snapshot_});
  }
  [[nodiscard]] std::uint64_t clusters() const { return clusters_; }
  [[nodiscard]] std::vector<findings::GuestRange>& ranges() { return ranges_; }

 private:
  std::uint64_t cluster_size_;
  std::string snapshot_;
  std::uint64_t clusters_ = 0;
  std::vector<findings::GuestRange> ranges_;
};

// Reads the mapping behind one snapshot's disk.
class VmStateScan {
 public:
  VmStateScan(Image& image, std::uint64_t& budget)
      : image_(image), geometry_(*image.geometry), budget_(budget) {}

  // Looks at `clusters` guest clusters from L1 entry `first` of the snapshot on, as far as its L1 table reaches.
  void run(const SnapshotState& state, std::uint64_t first, std::uint64_t clusters) {
    const std::uint64_t per_table = geometry_.l2_entries();
    const std::uint64_t end =
        std::min<std::uint64_t>(state.data.entry.l1_size, first + base::divide_up(clusters, per_table));
    for (std::uint64_t at = first; at < end && !too_expensive_;) {
      const base::HostOffset place{state.data.entry.l1_table_offset.raw() + at * 8};
      const auto bytes = read(place, std::min(l1_chunk, (end - at) * 8), state.where() + ".l1");
      const base::BigEndianTable<std::uint64_t> table(bytes);
      if (table.size() == 0) return;
      for (std::size_t i = 0; i < table.size() && !too_expensive_; ++i, ++at)
        visit(state, at, format::L1Entry{table[i]}, std::min(per_table, clusters - (at - first) * per_table));
    }
  }

  [[nodiscard]] bool too_expensive() const { return too_expensive_; }
  // Clusters with a place in the file, and clusters without.
  StateRanges* there = nullptr;
  StateRanges* missing = nullptr;

 private:
  std::vector<std::byte> read(base::HostOffset at, std::uint64_t length, std::string_view where) {
    too_expensive_ = length > budget_ || image_.progress.stop_requested();
    if (too_expensive_) return {};
    budget_ -= length;
    return image_.read(at, length, length, where);
  }

  void visit(const SnapshotState& state, std::uint64_t index, format::L1Entry entry, std::uint64_t clusters) {
    const std::uint64_t guest = index * geometry_.span();
    if (entry.offset().raw() == 0) {
      if (missing != nullptr) missing->add(guest, clusters);
      return;
    }
    // A table that can't be read is the walk's to report; nothing is known of what it maps.
    if (!geometry_.aligned(entry.offset()) || !image_.inside(entry.offset(), geometry_.cluster_size()))
      return;
    const auto bytes =
        read(entry.offset(), geometry_.cluster_size(), fmt::format("{}.l1[{}].l2", state.where(), index));
    const base::BigEndianTable<std::uint64_t> words(bytes);
    const std::size_t step = geometry_.extended_l2() ? 2 : 1;
    for (std::uint64_t i = 0; i < clusters && i * step < words.size(); ++i) {
      const format::L2Entry l2{words[static_cast<std::size_t>(i) * step]};
      auto* ranges = l2.compressed() || l2.offset().raw() != 0 ? there : missing;
      if (ranges != nullptr) ranges->add(guest + i * geometry_.cluster_size(), 1);
    }
  }

  Image& image_;
  const format::Geometry geometry_;
  std::uint64_t& budget_;
  bool too_expensive_ = false;
};

// The VM state's place: it begins where the last span that the disk uses ends.
void check_stored(Image& image, const SnapshotState& state, base::HostOffset at, VmStateScan& scan) {
  const auto& geometry = *image.geometry;
  const std::uint64_t first = geometry.l1_entries(disk_size_of(image, state.data));
  const std::uint64_t start = first * geometry.span(), size = state.data.vm_state_size();
  const std::uint64_t entries = state.data.entry.l1_size;
  const std::uint64_t room = entries > first ? (entries - first) * geometry.span() : 0;
  if (size > room) {
    image.report(vm_size_finding("snapshot/vm-state-outside-l1"_rule, state, at)
                     .hits({base::GuestOffset{start}, size, state.data.id})
                     .saying(fmt::format("The L1 table has room for {} bytes of VM state.", room)));
    return;
  }
  StateRanges missing(geometry.cluster_size(), state.data.id);
  scan.missing = &missing;
  scan.run(state, first, geometry.clusters(size));
  if (missing.clusters() == 0) return;
  auto finding = vm_size_finding("snapshot/vm-state-missing"_rule, state, at)
                     .clusters(missing.clusters())
                     .saying(fmt::format("{} of {} clusters are unallocated.", missing.clusters(),
                                         geometry.clusters(size)));
  finding.guest = std::move(missing.ranges());
  image.report(std::move(finding));
}

void check_unnamed(Image& image, const SnapshotState& state, base::HostOffset at, VmStateScan& scan) {
  const auto& geometry = *image.geometry;
  const std::uint64_t first = geometry.l1_entries(disk_size_of(image, state.data));
  const std::uint64_t entries = state.data.entry.l1_size;
  if (entries <= first) return;
  StateRanges there(geometry.cluster_size(), state.data.id);
  scan.there = &there;
  scan.run(state, first, (entries - first) << geometry.l2_bits());
  if (there.clusters() == 0) return;
  auto finding = vm_size_finding("snapshot/vm-state-orphan"_rule, state, at)
                     .clusters(there.clusters())
                     .saying(fmt::format("{} clusters are mapped behind the disk.", there.clusters()));
  finding.guest = std::move(there.ranges());
  image.report(std::move(finding));
}

}  // namespace

void check_vm_states(Image& image, std::span<const base::HostOffset> entries) {
  // With an external data file the mapping leads into that file, and snapshots are a fault of their own.
  if (image.header.external_data_file()) return;
  std::uint64_t budget = hole_budget + base::saturating_mul(image.device.allocated(), 2);
  for (std::size_t i = 0; i < image.snapshots.size(); ++i) {
    const auto& state = image.snapshots[i];
    if (!state.l1_usable || !disk_size_possible(image, state.data)) continue;
    VmStateScan scan(image, budget);
    if (state.data.vm_state_size() != 0)
      check_stored(image, state, entries[i], scan);
    else
      check_unnamed(image, state, entries[i], scan);
    if (!scan.too_expensive()) continue;
    if (!image.progress.stop_requested())
      image.report(header_finding<&format::HeaderV2::nb_snapshots>(image, "security/snapshot-work"_rule)
                       .saying(fmt::format("The VM state of {} and later snapshots was not looked at.",
                                           state.where())));
    return;
  }
}

}  // namespace cowvet::analyzer
