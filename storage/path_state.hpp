// What a path leads to, without opening it. Promises: links are followed, nothing is read.
#pragma once
#include <cstdint>
#include <optional>
#include <string>

namespace cowvet::storage {

struct PathState {
  enum class Kind : std::uint8_t { missing, file, block_device, character_device, other };
  Kind kind = Kind::missing;
  int os_error = 0;                     // why it is missing: errno
  std::uint64_t device = 0, inode = 0;  // tell two names of one file apart from two files
  std::uint64_t size = 0;               // of a file, bytes
  std::int64_t modified = 0;            // nanoseconds since 1970
  std::int64_t born = 0;                // likewise; 0 where the file system does not tell
};

[[nodiscard]] PathState look_at(const std::string& path);

// The path without links and detours; nothing when it leads nowhere.
[[nodiscard]] std::optional<std::string> real_path(const std::string& path);

}  // namespace cowvet::storage
