#include "storage/locks.hpp"

#include <cerrno>

#include <fcntl.h>
#include <sys/stat.h>

#include "storage/descriptor.hpp"

namespace cowvet::storage {

namespace {

constexpr off_t held_base = 100;
constexpr off_t refused_base = 200;
constexpr unsigned permissions = 4;

constexpr unsigned bit(Permission p) { return 1U << static_cast<unsigned>(p); }
constexpr unsigned wanted =
    bit(Permission::consistent_read) | bit(Permission::write) | bit(Permission::resize);
constexpr unsigned unshared = bit(Permission::write) | bit(Permission::resize);

struct flock one_byte(short type, off_t at) {
  struct flock lock{};
  lock.l_type = type;
  lock.l_whence = SEEK_SET;
  lock.l_start = at;
  lock.l_len = 1;
  return lock;
}

// Sets the bits of the bytes base, base + 1, … that others have locked.
void look(int fd, off_t base, std::uint8_t& bits, bool& known) {
  for (unsigned i = 0; i < permissions; ++i) {
    auto lock = one_byte(F_WRLCK, base + static_cast<off_t>(i));
    if (::fcntl(fd, F_OFD_GETLK, &lock) != 0) {
      known = false;
    } else if (lock.l_type != F_UNLCK) {
      bits = static_cast<std::uint8_t>(bits | 1U << i);
    }
  }
}

// Locks or unlocks the bytes of a set of permissions; errno of the first failure, 0 for none.
int apply(int fd, short type, off_t base, unsigned bits) {
  for (unsigned i = 0; i < permissions; ++i) {
    if ((bits >> i & 1U) == 0) continue;
    auto lock = one_byte(type, base + static_cast<off_t>(i));
    if (::fcntl(fd, F_OFD_SETLK, &lock) != 0) return errno;
  }
  return 0;
}

std::unexpected<base::Error> refused(const LockState& state) {
  if (state.in_use_for_writing())
    return base::fail(
        base::ErrorKind::in_use,
        "another program is using the image for writing: stop the virtual machine, or use --force-share "
        "if you are sure that it does not write");
  return base::fail(
      base::ErrorKind::in_use,
      "another program is reading the image and relies on its not changing: wait for it or stop it, or "
      "use --force-share");
}

}  // namespace

LockState probe(int fd) {
  LockState state;
  look(fd, held_base, state.held, state.known);
  if (state.known) look(fd, refused_base, state.refused, state.known);
  return state;
}

base::Result<LockState> image_in_use(const std::filesystem::path& path) {
  struct stat status{};
  const auto file = open_descriptor(path, Opening::read, status);
  if (!file) return std::unexpected(file.error());
  return probe(file->get());
}

base::Result<void> lock_for_writing(int fd) {
  // Looked at before anything is taken, so that trying on a running machine's image does not disturb it.
  if (const auto before = probe(fd); !before.known) {
    return {};
  } else if (!before.free_for_writing()) {
    return refused(before);
  }
  const auto release = [fd] {
    apply(fd, F_UNLCK, held_base, wanted);
    apply(fd, F_UNLCK, refused_base, unshared);
  };
  int failure = apply(fd, F_RDLCK, held_base, wanted);
  if (failure == 0) failure = apply(fd, F_RDLCK, refused_base, unshared);
  if (failure != 0) {
    release();
    return std::unexpected(system_error("locking the image", failure));
  }
  // Looked at again: of two that come at once, at least one sees the other.
  if (const auto after = probe(fd); !after.free_for_writing()) {
    release();
    return refused(after);
  }
  return {};
}

}  // namespace cowvet::storage
