// Units of the house: offsets that can't be mixed up and cluster numbers that can't be taken for offsets.
// Promises: a GuestOffset never becomes a HostOffset without the word `raw()`; arithmetic that may overflow is checked.
#pragma once
#include <compare>
#include <cstdint>
#include <functional>
#include <optional>

namespace cowvet::base {

// A byte position in one address space. `Space` is a tag and never instantiated.
template <class Space>
class Offset {
 public:
  using raw_type = std::uint64_t;
  constexpr Offset() = default;
  explicit constexpr Offset(std::uint64_t value) : value_(value) {}
  [[nodiscard]] constexpr std::uint64_t raw() const { return value_; }
  friend constexpr auto operator<=>(Offset, Offset) = default;
  // This offset moved up by `bytes`; nothing when that leaves 64 bits.
  [[nodiscard]] constexpr std::optional<Offset> plus(std::uint64_t bytes) const {
    std::uint64_t sum = 0;
    if (__builtin_add_overflow(value_, bytes, &sum)) return std::nullopt;
    return Offset{sum};
  }

 private:
  std::uint64_t value_ = 0;
};

struct GuestSpace;
struct HostSpace;
using GuestOffset = Offset<GuestSpace>;  // a byte of the virtual disk (VM state lies behind its end)
using HostOffset = Offset<HostSpace>;    // a byte of the image file

// A host cluster's number: HostOffset / cluster size.
class HostCluster {
 public:
  constexpr HostCluster() = default;
  explicit constexpr HostCluster(std::uint64_t index) : index_(index) {}
  [[nodiscard]] constexpr std::uint64_t raw() const { return index_; }
  friend constexpr auto operator<=>(HostCluster, HostCluster) = default;

 private:
  std::uint64_t index_ = 0;
};

}  // namespace cowvet::base

template <class Space>
struct std::hash<cowvet::base::Offset<Space>> {
  std::size_t operator()(cowvet::base::Offset<Space> offset) const noexcept {
    return std::hash<std::uint64_t>{}(offset.raw());
  }
};
