// What an operation on a chain of images would do: `--dry-run` of commit, rebase, pull and snapshot.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace cowvet::reports {

struct EditedLayer {
  std::string file, format;
  std::uint64_t size = 0;  // bytes of the disk
};

struct NeededSpace {
  std::string file;
  std::uint64_t bytes = 0;                      // at most
  std::optional<std::uint64_t> available = {};  // on its file system, where that is known
};

struct ChangedRange {
  std::string snapshot;  // empty: the image's own content
  std::uint64_t offset = 0, length = 0;
};

struct ChainEditReport {
  std::string operation;                   // "commit"
  std::vector<EditedLayer> before, after;  // top first
  std::uint64_t copied = 0, zeroed = 0, compared = 0;
  std::vector<NeededSpace> needs;
  std::vector<std::string> changed, invalid, unused, hazards;
  // What would read differently, where that was asked for: the first ranges, and all bytes.
  std::optional<std::vector<ChangedRange>> differences = {};
  std::uint64_t different = 0;
};

// The document that schemas/chain-edit.json describes.
[[nodiscard]] std::string chain_edit_json(const ChainEditReport& report);
[[nodiscard]] std::string chain_edit_text(const ChainEditReport& report);
// "  4096 bytes at 0x10000", a line each, with the snapshot that they are in.
[[nodiscard]] std::string range_lines(const std::vector<ChangedRange>& ranges);

}  // namespace cowvet::reports
