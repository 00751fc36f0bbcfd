// What is done to a chain, as plain values: a sequence is a first image and operations. Promises: any values are
// meaningful; where numbers leave the disk, or name a snapshot that is not there, Model::fitted() says what is meant.
#pragma once
#include <cstdint>
#include <variant>
#include <vector>

#include "base/bytes.hpp"
#include "model/setting.hpp"

namespace cowvet::model {

struct Range {
  std::uint64_t at = 0, length = 0;  // bytes
  [[nodiscard]] std::uint64_t end() const { return at + length; }
  friend bool operator==(const Range&, const Range&) = default;
};

// What is written: one byte all over, or bytes of a seed that repeat after a prime number of bytes, so that no cluster
// is like its neighbour. `text` shrinks to about half its size, `noise` does not shrink within that period.
struct Fill {
  enum class Kind : std::uint8_t { byte, text, noise };
  Kind kind = Kind::byte;
  std::uint8_t seed = 0;
  friend bool operator==(const Fill&, const Fill&) = default;
};
inline constexpr std::size_t fill_period = 4099;
// The first `length` bytes.
[[nodiscard]] std::vector<std::byte> filled(const Fill& fill, std::size_t length);

struct Write {
  Range range;
  Fill fill;
};
struct WriteCompressed {  // whole clusters; the disk's last may be cut
  Range range;
  Fill fill;
};
struct Zero {
  Range range;
  bool unmap = false;
};
struct Discard {
  Range range;
};
struct Flush {};
// Closed and opened again; without `properly` the program ends after a flush, without closing.
struct Reopen {
  bool properly = true;
};
struct CreateSnapshot {};
struct ApplySnapshot {
  std::uint32_t which = 0;  // from the oldest
};
struct RemoveSnapshot {
  std::uint32_t which = 0;
};
struct Resize {
  std::uint64_t size = 0;  // bytes
  engine::Preallocation preallocation = engine::Preallocation::off;
};
struct AddBitmap {
  std::uint64_t granularity = 0;  // bytes
  bool enabled = true;
};
struct RemoveBitmap {
  std::uint32_t which = 0;
};
struct ClearBitmap {
  std::uint32_t which = 0;
};
struct EnableBitmap {
  std::uint32_t which = 0;
  bool enabled = true;
};
// The image becomes the backing file of a new one, which everything else is done to from then on.
struct AddOverlay {
  Setting setting;
};

using Operation =
    std::variant<Write, WriteCompressed, Zero, Discard, Flush, Reopen, CreateSnapshot, ApplySnapshot,
                 RemoveSnapshot, Resize, AddBitmap, RemoveBitmap, ClearBitmap, EnableBitmap, AddOverlay>;

struct Sequence {
  std::uint64_t raw_base = 0;  // bytes of a raw backing file below the first image; 0: there is none
  Setting first;
  std::vector<Operation> operations;
};

// What a raw backing file holds.
inline constexpr Fill raw_base_fill{Fill::Kind::noise, 0xb5};

}  // namespace cowvet::model
