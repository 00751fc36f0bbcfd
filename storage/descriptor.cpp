#include "storage/descriptor.hpp"

#include <cerrno>
#include <cstring>
#include <string>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace cowvet::storage {

namespace {

// Why a file of this kind is no image; nullptr when it may be one.
const char* refusal(mode_t mode) {
  switch (mode & S_IFMT) {
    case S_IFREG:
    case S_IFBLK: return nullptr;
    case S_IFDIR: return "is a directory: name the image file in it";
    case S_IFIFO: return "is a pipe: an image is read out of order, so copy it to a file first";
    case S_IFSOCK: return "is a socket: name the image file itself";
    case S_IFCHR: return "is a character device: name an image file or a block device";
    default: return "is neither a regular file nor a block device: name the image file itself";
  }
}

const char* reason(int os_error) {
  switch (os_error) {
    case ENOSPC: return "No space left on device: free some, then run it again";
    case EDQUOT: return "disk quota exceeded: free some space, then run it again";
    case EFBIG:
      return "the file would become too large: raise the limit (ulimit -f) or use another file system";
    case EIO:
      return "the device reports an error: copy what is readable to another disk (ddrescue) and go on there";
    default:
      return std::strerror(os_error);  // NOLINT(concurrency-mt-unsafe): glibc's is safe for known numbers
  }
}

base::Error opening_error(int os_error, Opening opening) {
  using base::ErrorKind;
  switch (os_error) {
    case ENOENT:
    case ENOTDIR:
      return {ErrorKind::not_found,
              opening == Opening::create ? "no such folder: make it first" : "no such file: check the name",
              os_error};
    case EACCES:
    case EPERM:
      return {ErrorKind::io,
              opening != Opening::read ? "permission denied: writing needs the owner's rights (or root's)"
                                       : "permission denied: reading needs the owner's rights (or root's)",
              os_error};
    case EROFS:
      return {ErrorKind::io, "the file system is mounted read-only: remount it or work on a copy", os_error};
    case ELOOP:
      return {ErrorKind::io, "symbolic links lead in a circle: name the image file itself", os_error};
    default: return system_error("opening", os_error);
  }
}

}  // namespace

Descriptor::~Descriptor() {
  if (fd_ >= 0) ::close(fd_);
}

base::Result<Descriptor> open_descriptor(const std::filesystem::path& path, Opening opening,
                                         struct stat& status) {
  // Looked at first: opening a pipe wakes its writer, opening a device may move it.
  if (::stat(path.c_str(), &status) != 0) {
    if (opening != Opening::create || errno != ENOENT) return std::unexpected(opening_error(errno, opening));
  } else if (const char* why = refusal(status.st_mode)) {
    return base::fail(base::ErrorKind::usage, why);
  }
  // O_NONBLOCK in case a pipe took the file's place meanwhile; it changes nothing for files and block devices.
  const int flags = (opening == Opening::read ? O_RDONLY : O_RDWR) |
                    (opening == Opening::create ? O_CREAT : 0) | O_CLOEXEC | O_NOCTTY | O_NONBLOCK;
  const int fd = ::open(path.c_str(), flags, 0644);
  if (fd < 0) return std::unexpected(opening_error(errno, opening));
  Descriptor descriptor(fd);
  if (::fstat(fd, &status) != 0) return std::unexpected(system_error("looking at the file", errno));
  if (const char* why = refusal(status.st_mode)) return base::fail(base::ErrorKind::usage, why);
  return descriptor;
}

base::Error system_error(const char* what, int os_error) {
  return {base::ErrorKind::io, std::string(what) + " failed: " + reason(os_error), os_error};
}

}  // namespace cowvet::storage
