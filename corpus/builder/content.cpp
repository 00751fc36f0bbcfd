#include "corpus/builder/content.hpp"

#include <algorithm>

namespace cowvet::corpus {

void fill_content(const Content& content, std::uint64_t guest_cluster, std::uint32_t generation,
                  base::MutableBytes out) {
  switch (content.kind) {
    case Content::Kind::pattern:
      std::ranges::fill(out, std::byte{content.byte.value_or(pattern_byte(guest_cluster, generation))});
      return;
    case Content::Kind::noise: fill_noise(guest_cluster << 8 | generation, out); return;
    case Content::Kind::none: std::ranges::fill(out, std::byte{0}); return;
  }
}

void fill_noise(std::uint64_t seed, base::MutableBytes out) {
  std::uint64_t state = seed;  // splitmix64
  while (!out.empty()) {
    state += 0x9e3779b97f4a7c15ULL;
    std::uint64_t z = state;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
    z ^= z >> 31;
    const std::size_t n = std::min<std::size_t>(out.size(), 8);
    for (std::size_t i = 0; i < n; ++i) out[i] = static_cast<std::byte>(z >> (8 * i) & 0xff);
    out = out.subspan(n);
  }
}

}  // namespace cowvet::corpus
