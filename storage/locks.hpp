// QEMU's advisory image locks (QEMU 2.10 and newer, Linux): open-file-description locks on single bytes of the image.
// A program that uses permission p holds a shared lock on byte 100 + p; one that refuses p to others holds a shared
// lock on byte 200 + p. Whoever wants p asks whether byte 200 + p is free, whoever refuses p whether 100 + p is.
// Promises: probing takes no lock, so it never stops a virtual machine from starting.
#pragma once
#include <cstdint>
#include <filesystem>

#include "base/result.hpp"

namespace cowvet::storage {

enum class Permission : std::uint8_t {
  consistent_read = 0,  // reads what is not changed meanwhile
  write = 1,            // changes what a guest sees
  write_unchanged = 2,  // writes without changing what a guest sees
  resize = 3,
};

// What other openings of the file hold; each is a set of bits 1 << Permission.
struct LockState {
  bool known = true;         // false: this file system has no such locks
  std::uint8_t held = 0;     // permissions in use
  std::uint8_t refused = 0;  // permissions refused to others

  [[nodiscard]] bool holds(Permission p) const { return held >> static_cast<unsigned>(p) & 1U; }
  [[nodiscard]] bool refuses(Permission p) const { return refused >> static_cast<unsigned>(p) & 1U; }
  // Another program may change the image while we read: what is seen may be half of a change.
  [[nodiscard]] bool in_use_for_writing() const {
    return holds(Permission::write) || holds(Permission::resize) || refuses(Permission::consistent_read);
  }
  // Nobody uses it, and nobody relies on its staying as it is.
  [[nodiscard]] bool free_for_writing() const {
    return !in_use_for_writing() && !refuses(Permission::write) && !refuses(Permission::resize);
  }
};

// Looks at the locks that others hold on an open file; takes none.
[[nodiscard]] LockState probe(int fd);

// The same for a file by name. Errors: as open_file() when it can't be opened for reading.
[[nodiscard]] base::Result<LockState> image_in_use(const std::filesystem::path& path);

// Takes the locks of a program that writes and resizes the image and shares it with readers that don't mind. They are
// held until the last descriptor of this opening is closed. Error in_use: others hold the image; nothing is held then.
// Succeeds without a lock where the file system has none, as QEMU does.
[[nodiscard]] base::Result<void> lock_for_writing(int fd);

}  // namespace cowvet::storage
