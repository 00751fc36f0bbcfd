#include "storage/new_file.hpp"

#include <cerrno>
#include <cstdio>
#include <filesystem>

#include <fcntl.h>
#include <unistd.h>

#include <fmt/format.h>

#include "storage/path_state.hpp"

namespace cowvet::storage {

namespace {

using base::ErrorKind;

std::unexpected<base::Error> taken() {
  return base::fail(ErrorKind::usage, "there is such a file already: give another name, or remove it first");
}

// Where the file system can't rename without replacing, a second name does it.
int name_it(const char* from, const char* to) {
  if (::renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE) == 0) return 0;
  if (errno != EINVAL && errno != ENOSYS) return errno;
  if (::link(from, to) != 0) return errno;
  ::unlink(from);
  return 0;
}

int flush_folder(const std::string& file) {
  const auto folder = std::filesystem::path(file).parent_path();
  const int fd = ::open(folder.empty() ? "." : folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return errno;
  const int failed = ::fsync(fd) != 0 ? errno : 0;
  ::close(fd);
  return failed;
}

}  // namespace

base::Result<std::unique_ptr<NewFile>> NewFile::begin(const std::string& wanted, const FileOptions& options) {
  if (look_at(wanted).kind != PathState::Kind::missing) return taken();
  // The process's number makes the name its own; what another one of the same number left behind is overwritten.
  auto temporary = fmt::format("{}.new-{}", wanted, ::getpid());
  auto device = create_file(temporary, options);
  if (!device) return std::unexpected(std::move(device.error()));
  return std::unique_ptr<NewFile>(new NewFile(wanted, std::move(temporary), std::move(*device)));
}

NewFile::~NewFile() {
  if (!published_) ::unlink(temporary_.c_str());
}

base::Result<void> NewFile::publish() {
  if (auto flushed = device_->flush(); !flushed) return flushed;
  if (const int failed = name_it(temporary_.c_str(), wanted_.c_str()); failed != 0)
    return failed == EEXIST ? taken() : base::fail(ErrorKind::io, "the file can't be given its name", failed);
  published_ = true;
  if (const int failed = flush_folder(wanted_); failed != 0)
    return base::fail(ErrorKind::io, "the folder can't be made durable: the file may be gone after a crash",
                      failed);
  return {};
}

}  // namespace cowvet::storage
