// Where an image's bytes live. Promises: a batch of reads never fails as a whole because one range is bad; nothing is
// read past the end; holes are known without being read. All functions are safe from several threads at once.
#pragma once
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>

#include "base/bytes.hpp"
#include "base/result.hpp"

namespace cowvet::storage {

// One read of a batch. Bytes behind the device's end are left as zeros; `valid` says how many came from the device.
struct ReadRequest {
  std::uint64_t offset = 0;
  base::MutableBytes into;
  std::uint64_t valid =
      0;  // out: bytes from the front that exist on the device (less than into.size(): end of device)
  int os_error = 0;   // out: errno when the device failed in this range; then the failed bytes are zeros
  bool hole = false;  // out: all valid bytes lie in a hole, known without reading; then `into` is all zeros
  // out, when os_error is set: the failed bytes lie in [bad_begin, bad_end), counted from `offset`; whatever lies
  // outside was read well.
  std::uint64_t bad_begin = 0, bad_end = 0;
};

// A run of data or of hole; `end` is where it stops (at most the device's size). A long run may be told in pieces.
struct Extent {
  std::uint64_t begin = 0, end = 0;
  bool hole = false;
};

struct Identity {  // tells two openings of one file apart from two files
  std::uint64_t device = 0, inode = 0;
  std::int64_t modified_sec = 0;
  std::int64_t modified_nsec = 0;
  std::uint64_t size = 0;
  friend bool operator==(const Identity&, const Identity&) = default;
};

class Device {
 public:
  Device() = default;
  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;
  virtual ~Device() = default;

  [[nodiscard]] virtual std::uint64_t size() const = 0;  // bytes
  // Bytes that really take space; holes don't. Equal to size() where that is not known.
  [[nodiscard]] virtual std::uint64_t allocated() const = 0;
  // A block device: its size says nothing about where the image ends.
  [[nodiscard]] virtual bool is_block_device() const { return false; }
  // Who this is and its state now; nothing for devices that are no files.
  [[nodiscard]] virtual std::optional<Identity> identity() const { return std::nullopt; }

  // Serves all requests; failures are told per request.
  virtual void read(std::span<ReadRequest> batch) const = 0;
  // The extent that holds `offset`, as far as it reaches. offset < size().
  [[nodiscard]] virtual Extent extent(std::uint64_t offset) const = 0;

  // One range; the convenient form of read().
  ReadRequest read(std::uint64_t offset, base::MutableBytes into) const;

  // Writing, for devices opened for it; others answer with an error of kind `usage`.
  [[nodiscard]] virtual base::Result<void> write(std::uint64_t offset, base::ConstBytes bytes);
  [[nodiscard]] virtual base::Result<void> resize(std::uint64_t size);
  [[nodiscard]] virtual base::Result<void> flush();  // durable when it returns

  // The range reads as zeros afterwards. discard() gives its space back where the file system can, and never
  // changes the device's size: what lies behind the end is left out. zero() grows the device as writing
  // would; its space may stay.
  [[nodiscard]] virtual base::Result<void> discard(std::uint64_t offset, std::uint64_t length);
  [[nodiscard]] virtual base::Result<void> zero(std::uint64_t offset, std::uint64_t length);
  // Takes the range's space now, so that writing there does not fail for want of it; grows the device as far as needed.
  // What the device holds does not change, and what is new reads as zeros.
  [[nodiscard]] virtual base::Result<void> preallocate(std::uint64_t offset, std::uint64_t length);

 protected:
  [[nodiscard]] static base::Result<void>
  read_only();  // the error of a device that was not opened for writing
};

}  // namespace cowvet::storage
