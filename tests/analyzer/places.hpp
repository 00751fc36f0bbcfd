// Places in the words of the tests.
#pragma once
#include <cstdint>
#include <string>

#include "findings/finding.hpp"

namespace cowvet::analyzer {

inline constexpr std::uint64_t kib = 1024, mib = 1024 * kib;

inline findings::GuestRange guest(std::uint64_t begin, std::uint64_t length, std::string snapshot = {}) {
  return {base::GuestOffset{begin}, length, std::move(snapshot)};
}
inline constexpr base::HostOffset host(std::uint64_t offset) { return base::HostOffset{offset}; }

}  // namespace cowvet::analyzer
