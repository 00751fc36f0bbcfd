// A folder of a test's own that is gone when the test is over, and files in it.
#pragma once
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <stdexcept>
#include <string>
#include <vector>

#include <fcntl.h>
#include <unistd.h>

#include "base/bytes.hpp"

namespace cowvet::tests {

class Folder {
 public:
  Folder() {
    std::string pattern = (std::filesystem::temp_directory_path() / "cowvet-test-XXXXXX").string();
    if (::mkdtemp(pattern.data()) == nullptr) throw std::runtime_error("no temporary folder: " + pattern);
    path_ = pattern;
  }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  ~Folder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  [[nodiscard]] std::filesystem::path operator/(const std::string& name) const { return path_ / name; }

 private:
  std::filesystem::path path_;
};

// A run of bytes that a file is to hold; what no piece covers is a hole.
struct Piece {
  std::uint64_t offset = 0;
  std::vector<std::byte> bytes;
};

inline void make_file(const std::filesystem::path& path, std::uint64_t size,
                      const std::vector<Piece>& pieces = {}) {
  const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (fd < 0) throw std::runtime_error("can't make " + path.string());
  bool good = ::ftruncate(fd, static_cast<off_t>(size)) == 0;
  for (const auto& piece : pieces)
    good = good && ::pwrite(fd, piece.bytes.data(), piece.bytes.size(), static_cast<off_t>(piece.offset)) ==
                       static_cast<ssize_t>(piece.bytes.size());
  ::close(fd);
  if (!good) throw std::runtime_error("can't fill " + path.string());
}

// `size` bytes, none of them zero, that tell where they come from.
inline std::vector<std::byte> pattern(std::size_t size, std::uint64_t seed) {
  std::vector<std::byte> bytes(size);
  for (std::size_t i = 0; i < size; ++i)
    bytes[i] = static_cast<std::byte>(1 + ((i + seed * 7919) * 2654435761U >> 16) % 255);
  return bytes;
}

}  // namespace cowvet::tests
