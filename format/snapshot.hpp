// The snapshot table: packed entries of variable length. Promises: a walk over any bytes ends, and says where
// and why it stopped; every entry keeps its unknown extra data.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/bytes.hpp"
#include "base/units.hpp"
#include "format/record.hpp"

namespace cowvet::format {

// Bytes 0 to 39 of an entry.
struct SnapshotEntry {
  base::HostOffset l1_table_offset;
  std::uint32_t l1_size = 0;
  std::uint16_t id_size = 0;
  std::uint16_t name_size = 0;
  std::uint32_t date_sec = 0;
  std::uint32_t date_nsec = 0;
  std::uint64_t vm_clock_nsec = 0;
  std::uint32_t vm_state_size = 0;
  std::uint32_t extra_data_size = 0;
};
template <>
inline constexpr auto layout<SnapshotEntry> = record(
    "snapshot", "Snapshots", field<0, &SnapshotEntry::l1_table_offset>("l1_table_offset", "cluster aligned"),
    field<8, &SnapshotEntry::l1_size>("l1_size", "entries"),
    field<12, &SnapshotEntry::id_size>("id_size", "bytes of the ID string"),
    field<14, &SnapshotEntry::name_size>("name_size", "bytes of the name"),
    field<16, &SnapshotEntry::date_sec>("date_sec", "seconds since the epoch"),
    field<20, &SnapshotEntry::date_nsec>("date_nsec", "nanoseconds, below 1000000000"),
    field<24, &SnapshotEntry::vm_clock_nsec>("vm_clock_nsec", "guest run time in nanoseconds"),
    field<32, &SnapshotEntry::vm_state_size>("vm_state_size",
                                             "bytes; replaced by the 64-bit field if there is one"),
    field<36, &SnapshotEntry::extra_data_size>("extra_data_size", "bytes; at least 16 in version 3"));
static_assert(disk_size<SnapshotEntry> == 40);

// The known extra data. An entry with less has only the first fields.
struct SnapshotExtra {
  std::uint64_t vm_state_size_large = 0;
  std::uint64_t disk_size_bytes = 0;
  std::uint64_t icount = 0;
};
template <>
inline constexpr auto layout<SnapshotExtra> = record(
    "snapshot_extra", "Snapshots, extra data",
    field<0, &SnapshotExtra::vm_state_size_large>("vm_state_size_large", "bytes; replaces vm_state_size"),
    field<8, &SnapshotExtra::disk_size_bytes>("disk_size", "virtual disk size of the snapshot in bytes"),
    field<16, &SnapshotExtra::icount>("icount", "instruction count, all ones = none"));
static_assert(disk_size<SnapshotExtra> == 24);

// One entry as found; the strings are the raw bytes.
struct Snapshot {
  std::uint64_t position = 0;  // from the table's start, bytes
  SnapshotEntry entry;
  std::vector<std::byte> extra;  // all of it, known and unknown
  std::string id, name;
  std::vector<std::byte> padding;  // after the name; may be cut short in the table's last entry

  [[nodiscard]] std::optional<std::uint64_t> extra_field(std::size_t offset) const;
  [[nodiscard]] std::uint64_t vm_state_size() const;                   // the 64-bit field where there is one
  [[nodiscard]] std::optional<std::uint64_t> disk_size_bytes() const;  // nothing: the image's own size counts
  [[nodiscard]] std::optional<std::uint64_t> icount() const;           // nothing when absent or all ones
  // Bytes of the entry without the padding after the name.
  [[nodiscard]] std::uint64_t length() const {
    return disk_size<SnapshotEntry> + extra.size() + id.size() + name.size();
  }
};

// What a step of the walk over a table found.
struct SnapshotStep {
  std::optional<Snapshot> snapshot;  // nothing: an entry does not fit into the bytes that are left
  std::uint64_t needed = 0;          // bytes from the entry's start that it claims, padding excluded
};

// Reads the entry at the start of `rest` (its position in the table is `position`).
[[nodiscard]] SnapshotStep parse_snapshot(base::ConstBytes rest, std::uint64_t position);
// The whole entry with its padding, as it lies on disk.
[[nodiscard]] std::vector<std::byte> encode_snapshot(const Snapshot& snapshot);

}  // namespace cowvet::format
