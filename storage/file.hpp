// An image in a file or on a block device. Promises: opening for reading changes nothing, not even the access of
// others; batches are joined, read ahead where the page cache is cold, and bad sectors cost only themselves; holes
// are answered without reading them.
#pragma once
#include <cstdint>
#include <filesystem>
#include <memory>

#include "base/result.hpp"
#include "storage/device.hpp"

namespace cowvet::storage {

enum class Io : std::uint8_t {
  automatic,  // what measured fastest (docs/design.md): posix
  posix,      // every access is a plain system call, so that a trace shows them all
  uring,      // batches go through io_uring; an error where the kernel does not allow it
};

struct FileOptions {
  bool writable = false;
  Io io = Io::automatic;
  // Whether QEMU's image locks are honoured when opening for writing (see locks.hpp): false is --force-share.
  bool lock = true;
  // False: flush() does nothing, and the kernel writes when it likes. For new files, which nobody misses after a crash.
  bool durable = true;
};

// Opens an existing regular file or block device. Errors: not_found; in_use, when it is to be written and another
// program holds it; usage, for what is no image file (directory, pipe, socket, character device); io otherwise.
[[nodiscard]] base::Result<std::unique_ptr<Device>> open_file(const std::filesystem::path& path,
                                                              const FileOptions& options = {});

// Makes an empty file, or empties the one that is there (a block device keeps its content and size), and opens it for
// writing whatever `options.writable` says. Its old content is gone only once the locks are held. Errors as
// open_file(); not_found: there is no such folder.
[[nodiscard]] base::Result<std::unique_ptr<Device>> create_file(const std::filesystem::path& path,
                                                                const FileOptions& options = {});

// The range will not be read again: the system's memory that holds a copy of it may be given back. What is not written
// out yet stays there, and devices that are no files have none.
void drop_cached(const Device& device, std::uint64_t offset, std::uint64_t length);

}  // namespace cowvet::storage
