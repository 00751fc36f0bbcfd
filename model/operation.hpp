// What is done to a chain, as plain values: a sequence is a first image and operations. Promises: any values are
// meaningful; where numbers leave the disk, or name a snapshot that is not there, Model::fitted() says what is meant.
#pragma once
#include <array>
#include <cstdint>
#include <string_view>
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
// An image becomes the backing file of a new one, which everything else is done to from then on.
struct AddOverlay {
  Setting setting;
  std::uint32_t over = 0;  // 0: the image in use; else one more than the image's number
};
// Another image that is below no other is used from then on.
struct Use {
  std::uint32_t which = 0;
};
// Layers of the chain of the image in use are counted from it, which is 0. Each of these ends with it being used again.
// What the layers from `top` on hold is merged into `base`.
struct Commit {
  std::uint32_t top = 0, base = 1;
};
struct Rebase {
  std::uint32_t onto = 0;  // 0: none; else one more than the image's number
  bool safe = true;        // otherwise only the name changes
};
// What lies between `image` and `base` is copied into the image. `base` 0: nothing stays below it.
struct Pull {
  std::uint32_t image = 0, base = 0;
};
// A layer in the middle is given up: what it holds goes into the overlays on it, or into what lies below it.
struct RemoveLayer {
  std::uint32_t which = 1;
  bool upwards = false;
};

using Operation = std::variant<Write, WriteCompressed, Zero, Discard, Flush, Reopen, CreateSnapshot,
                               ApplySnapshot, RemoveSnapshot, Resize, AddBitmap, RemoveBitmap, ClearBitmap,
                               EnableBitmap, AddOverlay, Use, Commit, Rebase, Pull, RemoveLayer>;

// How often each kind was done, in the order of the variant.
using KindCounts = std::array<std::uint64_t, std::variant_size_v<Operation>>;
inline constexpr std::array<std::string_view, std::variant_size_v<Operation>> kind_names{"write",
                                                                                         "write-compressed",
                                                                                         "zero",
                                                                                         "discard",
                                                                                         "flush",
                                                                                         "reopen",
                                                                                         "create-snapshot",
                                                                                         "apply-snapshot",
                                                                                         "remove-snapshot",
                                                                                         "resize",
                                                                                         "add-bitmap",
                                                                                         "remove-bitmap",
                                                                                         "clear-bitmap",
                                                                                         "enable-bitmap",
                                                                                         "add-overlay",
                                                                                         "use",
                                                                                         "commit",
                                                                                         "rebase",
                                                                                         "pull",
                                                                                         "remove-layer"};

// Whether it is done to the tree of images: the image in use is closed before, and opened again.
[[nodiscard]] inline bool on_tree(const Operation& operation) {
  return operation.index() >= Operation(AddOverlay{}).index();
}

struct Sequence {
  std::uint64_t raw_base = 0;  // bytes of a raw backing file below the first image; 0: there is none
  Setting first;
  std::vector<Operation> operations;
};

// The name of a raw backing file, and what it holds.
inline constexpr const char* raw_base_name = "base.raw";
inline constexpr Fill raw_base_fill{Fill::Kind::noise, 0xb5};

}  // namespace cowvet::model
