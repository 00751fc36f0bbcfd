// What an image says of itself, in qemu-img's words: `info`.
#pragma once
#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "analyzer/info.hpp"

namespace cowvet::reports {

struct InfoReport {
  std::string file;  // as it was opened
  const analyzer::Info& info;
};

// A snapshot as lists show it.
struct SnapshotLine {
  std::string id, name;
  std::uint64_t vm_state_size = 0;  // bytes
  std::uint32_t date_sec = 0;
  std::uint64_t vm_clock_nsec = 0;
  std::optional<std::uint64_t> icount;
};
// The list with its headings; nothing for no snapshots.
[[nodiscard]] std::string snapshot_list(std::span<const SnapshotLine> snapshots);

// "Format specific information:" with its lines; empty for a raw image.
[[nodiscard]] std::string format_specific_text(const analyzer::Info& info);
[[nodiscard]] std::string info_text(std::span<const InfoReport> chain);
// An object, or with `as_chain` an array, top first. schemas/info.json describes it.
[[nodiscard]] std::string info_json(std::span<const InfoReport> chain, bool as_chain);

}  // namespace cowvet::reports
