// The snapshot table's entries, read one after the other. Promises: memory follows what an entry is worth
// keeping, not what it claims; a walk over any bytes ends, and why it ended is reported.
#pragma once
#include <cstdint>
#include <optional>

#include "analyzer/image.hpp"
#include "analyzer/window.hpp"

namespace cowvet::analyzer {

class SnapshotTable {
 public:
  static constexpr std::uint64_t fixed_size =
      format::disk_size<format::SnapshotEntry>;  // an entry without its texts

  // Quiet: why the reading stops is no news, because the number of entries is not to be believed.
  SnapshotTable(Image& image, base::HostOffset table, bool quiet)
      : image_(image), table_(table), window_(image, table, "snapshot_table"), quiet_(quiet) {}

  enum class Read : std::uint8_t {
    entry,
    zeros,    // the entry's fixed part is all zeros
    stopped,  // there is no further entry that can be read; a doubt is left
  };
  // Reads the entry that follows, the one with this index. Of extra data only the first 1024 bytes are kept.
  [[nodiscard]] Read next(std::uint32_t index, format::Snapshot& snapshot);
  // The plausible entry that lies in the same cluster as the end of the last one, behind nothing but zeros; if any.
  [[nodiscard]] std::optional<format::Snapshot> behind();
  // Reading goes on at `position`, where behind() found an entry.
  void skip_to(std::uint64_t position) { end_ = position; }
  // The last entry read is none after all.
  void unread() { end_ = before_; }

  // Bytes from the table's start: where the last entry begins, and where it ends without its padding.
  [[nodiscard]] std::uint64_t begin() const { return begin_; }
  [[nodiscard]] std::uint64_t end() const { return end_; }
  [[nodiscard]] base::HostOffset place(std::uint64_t position) const {
    return base::HostOffset{table_.raw() + position};
  }

 private:
  [[nodiscard]] bool sensible(const format::SnapshotEntry& entry, std::uint32_t extra_size);
  [[nodiscard]] std::uint32_t believed_extra(const format::SnapshotEntry& entry);
  Read stop(findings::Finding&& finding, std::uint32_t index);
  Read reject(std::uint32_t index, const format::SnapshotEntry& entry, std::uint64_t length);

  Image& image_;
  base::HostOffset table_;
  Window window_;
  bool quiet_;
  std::uint64_t before_ = 0, begin_ = 0, end_ = 0;
};

// A finding on the number of snapshots that the header claims.
[[nodiscard]] findings::Finding snapshot_count_finding(const Image& image, findings::RuleId rule);

}  // namespace cowvet::analyzer
