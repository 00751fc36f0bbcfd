// A virtual disk as its guest sees it: a flat range of bytes, whatever stores them. Promises: every function checks its
// range before anything happens; reads of one disk may run side by side on several threads, changes may not.
#pragma once
#include <cstdint>
#include <optional>

#include "base/bytes.hpp"
#include "base/result.hpp"
#include "base/units.hpp"

namespace cowvet::engine {

// A run of guest bytes that this layer stores in one way. Not allocated: the layer below decides; without one, zeros.
struct Extent {
  std::uint64_t length = 0;  // bytes from the offset asked for; at least 1
  bool allocated = false;    // this layer decides
  bool zero = false;         // allocated, and reads as zeros without anything being read
  bool data = false;         // allocated, and content is stored
  bool compressed = false;
  std::optional<base::HostOffset> host = {};  // of the first byte, also where space is merely reserved
};

enum class Unmap : bool { no, yes };  // whether zeroing may give the space back

class Disk {
 public:
  Disk() = default;
  Disk(const Disk&) = delete;
  Disk& operator=(const Disk&) = delete;
  virtual ~Disk() = default;

  [[nodiscard]] virtual std::uint64_t size() const = 0;  // bytes
  [[nodiscard]] virtual bool writable() const = 0;

  // Fills `into` with the bytes from `at`, through the backing files. Error io: what can't be read, with the
  // place; never zeros in its stead. Error usage: the range leaves the disk.
  [[nodiscard]] virtual base::Result<void> read(base::GuestOffset at, base::MutableBytes into) const = 0;
  // How the bytes from `at` are stored in this layer alone; the run ends within `most` > 0 bytes.
  [[nodiscard]] virtual base::Result<Extent> extent(base::GuestOffset at, std::uint64_t most) const = 0;

  // Changes. They are durable after flush(); after a crash before that, each byte reads as before or after
  // it. Error usage: a disk not opened for writing, a range that leaves it. After an error nothing that was
  // there before is lost.
  [[nodiscard]] virtual base::Result<void> write(base::GuestOffset at, base::ConstBytes bytes) = 0;
  [[nodiscard]] virtual base::Result<void> zero(base::GuestOffset at, std::uint64_t length, Unmap unmap) = 0;
  // Gives space back where whole clusters are covered: these read as zeros afterwards, the rest stays as it is.
  [[nodiscard]] virtual base::Result<void> discard(base::GuestOffset at, std::uint64_t length) = 0;
  // A failed flush is final: every later change and flush fails too.
  [[nodiscard]] virtual base::Result<void> flush() = 0;
};

}  // namespace cowvet::engine
