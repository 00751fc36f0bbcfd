#include "storage/path_state.hpp"

#include <cerrno>
#include <filesystem>
#include <system_error>
#include <utility>

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

namespace cowvet::storage {

namespace {

std::int64_t nanoseconds(const statx_timestamp& time) {
  return time.tv_sec * 1'000'000'000 + static_cast<std::int64_t>(time.tv_nsec);
}

}  // namespace

PathState look_at(const std::string& path) {
  struct statx status{};
  if (::statx(AT_FDCWD, path.c_str(), 0, STATX_BASIC_STATS | STATX_BTIME, &status) != 0)
    return {.kind = PathState::Kind::missing, .os_error = errno};
  PathState state;
  state.kind = S_ISREG(status.stx_mode)   ? PathState::Kind::file
               : S_ISBLK(status.stx_mode) ? PathState::Kind::block_device
               : S_ISCHR(status.stx_mode) ? PathState::Kind::character_device
                                          : PathState::Kind::other;
  state.device = makedev(status.stx_dev_major, status.stx_dev_minor);
  state.inode = status.stx_ino;
  if (state.kind == PathState::Kind::file) state.size = status.stx_size;
  state.modified = nanoseconds(status.stx_mtime);
  if ((status.stx_mask & STATX_BTIME) != 0) state.born = nanoseconds(status.stx_btime);
  return state;
}

std::optional<std::string> real_path(const std::string& path) {
  std::error_code error;
  auto real = std::filesystem::canonical(path, error);
  if (error) return std::nullopt;
  return std::move(real).native();
}

}  // namespace cowvet::storage
