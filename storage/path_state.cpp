#include "storage/path_state.hpp"

#include <cerrno>

#include <sys/stat.h>

namespace cowvet::storage {

PathState look_at(const std::string& path) {
  struct stat status{};
  if (::stat(path.c_str(), &status) != 0) return {.kind = PathState::Kind::missing, .os_error = errno};
  PathState state;
  state.kind = S_ISREG(status.st_mode)   ? PathState::Kind::file
               : S_ISBLK(status.st_mode) ? PathState::Kind::block_device
               : S_ISCHR(status.st_mode) ? PathState::Kind::character_device
                                         : PathState::Kind::other;
  state.device = status.st_dev;
  state.inode = status.st_ino;
  if (state.kind == PathState::Kind::file) state.size = static_cast<std::uint64_t>(status.st_size);
  return state;
}

}  // namespace cowvet::storage
