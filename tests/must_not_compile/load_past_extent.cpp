// rejects: constraint
// A load that would leave its bytes: the extent is the proof that they are there.
#include <array>
#include <cstdint>
#include <span>

#include "base/bytes.hpp"

int main() {
  const std::array<std::byte, 4> bytes{};
  const std::span<const std::byte, 4> four{bytes};
#ifdef GOOD
  return cowvet::base::load_be<std::uint16_t, 2>(four);
#else
  return static_cast<int>(cowvet::base::load_be<std::uint32_t, 2>(four));
#endif
}
