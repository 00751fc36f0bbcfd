// FNV-1a, 64 bits: a well-known hash for telling two byte strings apart. Promises: the published constants, so that
// anybody can compute it again; no defence against somebody who wants a collision.
#pragma once
#include <cstdint>

#include "base/bytes.hpp"

namespace cowvet::base {

[[nodiscard]] constexpr std::uint64_t fnv1a64(ConstBytes bytes) {
  std::uint64_t hash = 0xcbf29ce484222325;
  for (const std::byte byte : bytes) {
    hash ^= std::to_integer<std::uint64_t>(byte);
    hash *= 0x100000001b3;
  }
  return hash;
}

}  // namespace cowvet::base
