// What a path leads to, without opening it. Promises: links are followed, nothing is read.
#pragma once
#include <cstdint>
#include <string>

namespace cowvet::storage {

struct PathState {
  enum class Kind : std::uint8_t { missing, file, block_device, character_device, other };
  Kind kind = Kind::missing;
  int os_error = 0;                     // why it is missing: errno
  std::uint64_t device = 0, inode = 0;  // tell two names of one file apart from two files
  std::uint64_t size = 0;               // of a file, bytes
};

[[nodiscard]] PathState look_at(const std::string& path);

}  // namespace cowvet::storage
