#include "analyzer/snapshot_entry.hpp"

#include <chrono>
#include <limits>

#include <fmt/format.h>

#include "analyzer/field_finding.hpp"
#include "base/text.hpp"

namespace cowvet::analyzer {

using namespace findings::literals;
using findings::Finding;
using findings::Value;
using format::SnapshotEntry;
using format::SnapshotExtra;

namespace {

namespace limits = format::limits;

constexpr std::size_t longest_id = 127,
                      longest_snapshot_name = 255;  // bytes that QEMU's commands can address
constexpr std::uint32_t nanoseconds = 1'000'000'000;

template <auto Ptr>
Finding entry_finding(findings::RuleId rule, const SnapshotState& state, base::HostOffset at) {
  return field_finding<Ptr>(rule, state.data.entry, at, state.where()).in(state.data.id);
}

template <auto Ptr>
Finding extra_finding(findings::RuleId rule, const SnapshotState& state, base::HostOffset at,
                      std::uint64_t value) {
  const base::HostOffset extra{at.raw() + format::disk_size<SnapshotEntry>};
  return field_finding<Ptr>(rule, extra, state.where()).in(state.data.id).found(Value::dec(value));
}

void check_l1(Image& image, SnapshotState& state, base::HostOffset at) {
  const auto& entry = state.data.entry;
  const auto& geometry = *image.geometry;
  const auto offset = entry.l1_table_offset;
  const std::uint64_t length = std::uint64_t{entry.l1_size} * 8;
  const auto unusable = [&] { image.doubt("the L1 table of a snapshot can't be read"); };

  if (entry.l1_size == 0) {
    if (disk_size_of(image, state.data) == 0) return;
    image.report(entry_finding<&SnapshotEntry::l1_size>("snapshot/l1-size-zero"_rule, state, at)
                     .hits(disk_of(image, state.data)));
    return unusable();
  }
  if (entry.l1_size > limits::max_l1_entries) {
    image.report(entry_finding<&SnapshotEntry::l1_size>("snapshot/l1-size-limit"_rule, state, at)
                     .wanted(Value::at_most(limits::max_l1_entries))
                     .hits(disk_of(image, state.data)));
    return unusable();
  }
  if (offset.raw() == 0) {
    image.report(entry_finding<&SnapshotEntry::l1_table_offset>("snapshot/l1-offset-zero"_rule, state, at)
                     .hits(disk_of(image, state.data)));
    return unusable();
  }
  if (!geometry.aligned(offset)) {
    image.report(
        entry_finding<&SnapshotEntry::l1_table_offset>("snapshot/l1-offset-unaligned"_rule, state, at)
            .hits(disk_of(image, state.data))
            .wanted(Value::text(fmt::format("a multiple of {}", geometry.cluster_size()))));
    return unusable();
  }
  // Behind 2^63 there is no file, and sums need not fit: such a table is past the end and nothing else.
  const bool exists = offset.raw() <= limits::max_offset - length;
  if (!exists || !image.inside(offset, length)) {
    const std::uint64_t there = offset.raw() < image.eof ? (image.eof - offset.raw()) / 8 : 0;
    image.report(entry_finding<&SnapshotEntry::l1_table_offset>("snapshot/l1-past-eof"_rule, state, at)
                     .hits({base::GuestOffset{there * geometry.span()},
                            base::saturating_mul(entry.l1_size - there, geometry.span()), state.data.id})
                     .saying(fmt::format("{} of {} entries lie inside the file.", there, entry.l1_size)));
    unusable();
  }
  if (!exists) return;
  state.l1_usable = true;
  image.regions.push_back({.kind = Kind::snapshot_l1,
                           .begin = offset,
                           .length = length,
                           .index = static_cast<std::uint32_t>(state.index)});

  if (!disk_size_possible(image, state.data)) return;
  const std::uint64_t disk = disk_size_of(image, state.data), needed = geometry.l1_entries(disk);
  if (entry.l1_size < needed)
    image.report(entry_finding<&SnapshotEntry::l1_size>("snapshot/l1-too-small"_rule, state, at)
                     .wanted(Value::at_least(needed))
                     .hits({base::GuestOffset{entry.l1_size * geometry.span()},
                            disk - entry.l1_size * geometry.span(), state.data.id}));
}

void check_extra(Image& image, const SnapshotState& state, base::HostOffset at) {
  const auto& s = state.data;
  const std::uint32_t size = s.entry.extra_data_size;
  if (size < 16) {
    if (image.header.has_v3())
      image.report(entry_finding<&SnapshotEntry::extra_data_size>("snapshot/extra-too-small"_rule, state, at)
                       .wanted(Value::at_least(16)));
    else
      image.report(entry_finding<&SnapshotEntry::extra_data_size>("snapshot/extra-v2"_rule, state, at));
  }
  if (size > limits::max_snapshot_extra)
    image.report(entry_finding<&SnapshotEntry::extra_data_size>("snapshot/extra-too-large"_rule, state, at)
                     .wanted(Value::at_most(limits::max_snapshot_extra)));
  else if (size > format::disk_size<SnapshotExtra>)
    image.report(entry_finding<&SnapshotEntry::extra_data_size>("snapshot/extra-unknown"_rule, state, at)
                     .wanted(Value::at_most(format::disk_size<SnapshotExtra>)));

  if (const auto large = s.extra_field(0)) {
    const std::uint64_t small = *large <= std::numeric_limits<std::uint32_t>::max() ? *large : 0;
    if (s.entry.vm_state_size != small)
      image.report(entry_finding<&SnapshotEntry::vm_state_size>("snapshot/vm-state-sizes"_rule, state, at)
                       .wanted(Value::dec(small))
                       .saying(fmt::format("The 64-bit size is {}.", *large)));
  }
  const auto disk = s.disk_size_bytes();
  if (!disk) return;
  constexpr auto field = &SnapshotExtra::disk_size_bytes;
  if (!disk_size_possible(image, s))
    image.report(extra_finding<field>("snapshot/disk-size-limit"_rule, state, at, *disk));
  else if (*disk % limits::sector != 0)
    image.report(extra_finding<field>("snapshot/disk-size-multiple"_rule, state, at, *disk));
  else if (*disk != image.header.v2.size && !image.inferred)
    image.report(extra_finding<field>("snapshot/disk-size-differs"_rule, state, at, *disk)
                     .wanted(Value::dec(image.header.v2.size)));
}

// A text of the entry that lies `offset` bytes behind its start.
Finding text_finding(findings::RuleId rule, const SnapshotState& state, base::HostOffset at,
                     std::uint64_t offset, const std::string& text, const char* field) {
  return Finding{rule}
      .at(fmt::format("{}.{}", state.where(), field))
      .on(base::HostOffset{at.raw() + offset}, text.size())
      .in(state.data.id);
}

void check_texts(Image& image, const SnapshotState& state, base::HostOffset at) {
  const auto& s = state.data;
  const std::uint64_t id_at = format::disk_size<SnapshotEntry> + std::uint64_t{s.entry.extra_data_size};
  const std::uint64_t name_at = id_at + s.id.size();
  if (s.id.empty()) {
    image.report(entry_finding<&SnapshotEntry::id_size>("snapshot/id-empty"_rule, state, at));
  } else if (s.id.size() > longest_id) {
    image.report(entry_finding<&SnapshotEntry::id_size>("snapshot/id-length"_rule, state, at)
                     .wanted(Value::at_most(longest_id)));
  }
  if (!base::plain_text(s.id))
    image.report(text_finding("snapshot/id-text"_rule, state, at, id_at, s.id, "id")
                     .found(Value::text(base::escape(s.id.substr(0, longest_id)))));
  if (!base::plain_text(s.name))
    image.report(text_finding("snapshot/name-text"_rule, state, at, name_at, s.name, "name")
                     .found(Value::text(base::escape(s.name.substr(0, longest_snapshot_name)))));
  if (s.name.size() > longest_snapshot_name)
    image.report(entry_finding<&SnapshotEntry::name_size>("snapshot/name-length"_rule, state, at)
                     .wanted(Value::at_most(longest_snapshot_name)));
}

void check_time(Image& image, const SnapshotState& state, base::HostOffset at) {
  if (state.data.entry.date_nsec >= nanoseconds)
    image.report(entry_finding<&SnapshotEntry::date_nsec>("snapshot/date-range"_rule, state, at)
                     .wanted(Value::at_most(nanoseconds - 1)));
  // A day is left for clocks that differ.
  const auto now = std::chrono::system_clock::now().time_since_epoch() + std::chrono::days(1);
  if (std::chrono::seconds(state.data.entry.date_sec) > now)
    image.report(entry_finding<&SnapshotEntry::date_sec>("snapshot/date-order"_rule, state, at)
                     .saying("The time lies in the future."));
}

}  // namespace

std::uint64_t disk_size_of(const Image& image, const format::Snapshot& snapshot) {
  return snapshot.disk_size_bytes().value_or(image.header.v2.size);
}

bool disk_size_possible(const Image& image, const format::Snapshot& snapshot) {
  const std::uint64_t disk = disk_size_of(image, snapshot);
  return disk <= limits::max_virtual_size && image.geometry->l1_entries(disk) <= limits::max_l1_entries;
}

findings::GuestRange disk_of(const Image& image, const format::Snapshot& snapshot) {
  return {base::GuestOffset{0}, disk_size_of(image, snapshot), snapshot.id};
}

Finding vm_size_finding(findings::RuleId rule, const SnapshotState& state, base::HostOffset at) {
  const auto large = state.data.extra_field(0);
  return large ? extra_finding<&SnapshotExtra::vm_state_size_large>(rule, state, at, *large)
               : entry_finding<&SnapshotEntry::vm_state_size>(rule, state, at);
}

bool usual_lengths(const SnapshotEntry& entry) {
  return entry.extra_data_size <= limits::max_snapshot_extra && entry.id_size <= longest_id &&
         entry.name_size <= longest_snapshot_name;
}

bool plausible(const Image& image, const format::Snapshot& snapshot) {
  const auto& entry = snapshot.entry;
  return entry.l1_table_offset.raw() != 0 && image.geometry->aligned(entry.l1_table_offset) &&
         entry.l1_size != 0 && entry.l1_size <= limits::max_l1_entries &&
         image.inside(entry.l1_table_offset, std::uint64_t{entry.l1_size} * 8) && usual_lengths(entry) &&
         entry.id_size != 0 && entry.date_nsec < nanoseconds;
}

void check_snapshot_entry(Image& image, SnapshotState& state, base::HostOffset at) {
  check_l1(image, state, at);
  check_extra(image, state, at);
  check_texts(image, state, at);
  check_time(image, state, at);
}

}  // namespace cowvet::analyzer
