#include "storage/link.hpp"

#include <cerrno>
#include <filesystem>

#include <fcntl.h>
#include <unistd.h>

#include "storage/descriptor.hpp"

namespace cowvet::storage {

namespace fs = std::filesystem;

base::Result<void> make_link(const std::string& link, const std::string& target) {
  using base::ErrorKind;
  if (::symlink(target.c_str(), link.c_str()) != 0)
    return base::fail(errno == EEXIST ? ErrorKind::usage : ErrorKind::io, "the link can't be made", errno);
  const auto folder = fs::path(link).parent_path();
  const Descriptor opened(::open(folder.empty() ? "." : folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (opened.get() >= 0 && ::fsync(opened.get()) == 0) return {};
  const int os_error = errno;
  remove_link(link);
  return base::fail(ErrorKind::io, "the link can't be made durable", os_error);
}

void remove_link(const std::string& link) {
  std::error_code error;
  if (fs::is_symlink(fs::symlink_status(link, error))) fs::remove(link, error);
}

}  // namespace cowvet::storage
