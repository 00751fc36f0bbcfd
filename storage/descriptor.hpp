// An open file descriptor that closes itself, and the one place where an image file is opened. Promises: what is no
// regular file or block device is refused without being touched; nothing leaks into programs started later.
#pragma once
#include <cstdint>
#include <filesystem>
#include <utility>

#include "base/result.hpp"

struct stat;  // of <sys/stat.h>  NOLINT(readability-identifier-naming)

namespace cowvet::storage {

class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  Descriptor(Descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Descriptor& operator=(Descriptor&&) = delete;
  ~Descriptor();
  [[nodiscard]] int get() const { return fd_; }

 private:
  int fd_;
};

enum class Opening : std::uint8_t {
  read,
  write,
  create
};  // create: write, and make the file when it is missing

// Opens the file at `path` and tells its state in `status`. Errors as open_file().
[[nodiscard]] base::Result<Descriptor> open_descriptor(const std::filesystem::path& path, Opening opening,
                                                       struct stat& status);

// A failed system call as an Error: "`what` failed: REASON", with what to do where that is known.
[[nodiscard]] base::Error system_error(const char* what, int os_error);

}  // namespace cowvet::storage
