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
int rename_it(const char* from, const char* to) {
  if (::renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE) == 0) return 0;
  if (errno != EINVAL && errno != ENOSYS) return errno;
  if (::link(from, to) != 0) return errno;
  ::unlink(from);
  return 0;
}

std::string folder_of(const std::string& file) {
  const auto folder = std::filesystem::path(file).parent_path().string();
  return folder.empty() ? "." : folder;
}

int flush_folder(const std::string& file) {
  const Descriptor folder(::open(folder_of(file).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (folder.get() < 0) return errno;
  return ::fsync(folder.get()) != 0 ? errno : 0;
}

// The kernel's own link to an open file: through it the file can be opened once more, and given a name.
std::string link_to(const Descriptor& file) { return fmt::format("/proc/self/fd/{}", file.get()); }

// None (a negative number) where the file system knows no such files, or links to open files are not to be had.
Descriptor open_unnamed(const std::string& folder) {
  Descriptor file(::open(folder.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0644));
  if (file.get() < 0 || ::access(link_to(file).c_str(), R_OK | W_OK) == 0) return file;
  return Descriptor(-1);
}

}  // namespace

base::Result<std::unique_ptr<NewFile>> NewFile::begin(const std::string& wanted, const FileOptions& options) {
  if (look_at(wanted).kind != PathState::Kind::missing) return taken();
  auto unnamed = open_unnamed(folder_of(wanted));
  // The process's number makes a name its own; what another one of the same number left behind is overwritten.
  auto temporary = unnamed.get() >= 0 ? link_to(unnamed) : fmt::format("{}.new-{}", wanted, ::getpid());
  auto device = create_file(temporary, options);
  if (!device) return std::unexpected(std::move(device.error()));
  return std::unique_ptr<NewFile>(
      new NewFile(wanted, std::move(temporary), std::move(unnamed), std::move(*device)));
}

NewFile::~NewFile() {
  if (!published_ && unnamed_.get() < 0) ::unlink(temporary_.c_str());
}

base::Result<void> NewFile::publish() {
  if (auto flushed = device_->flush(); !flushed) return flushed;
  const int failed =
      unnamed_.get() < 0 ? rename_it(temporary_.c_str(), wanted_.c_str())
      : ::linkat(AT_FDCWD, temporary_.c_str(), AT_FDCWD, wanted_.c_str(), AT_SYMLINK_FOLLOW) == 0 ? 0
                                                                                                  : errno;
  if (failed != 0)
    return failed == EEXIST ? taken() : base::fail(ErrorKind::io, "the file can't be given its name", failed);
  published_ = true;
  if (const int lost = flush_folder(wanted_); lost != 0)
    return base::fail(ErrorKind::io, "the folder can't be made durable: the file may be gone after a crash",
                      lost);
  return {};
}

}  // namespace cowvet::storage
