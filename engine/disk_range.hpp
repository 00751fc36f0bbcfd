// The check that every request to a disk passes first.
#pragma once
#include <cstdint>

#include <fmt/format.h>

#include "base/result.hpp"
#include "base/units.hpp"

namespace cowvet::engine {

[[nodiscard]] inline base::Result<void> within_disk(base::GuestOffset at, std::uint64_t length,
                                                    std::uint64_t size) {
  if (at.raw() <= size && length <= size - at.raw()) return {};
  return base::fail(
      base::ErrorKind::usage,
      fmt::format("{} bytes at {:#x} lie outside the disk, which has {} bytes", length, at.raw(), size));
}

}  // namespace cowvet::engine
