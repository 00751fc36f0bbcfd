// What guest clusters hold. Promises: the bytes follow from the content's description, the layer's generation and the
// guest cluster's number alone, so that a test can say what a reader must find.
#pragma once
#include <cstdint>
#include <optional>

#include "base/bytes.hpp"

namespace cowvet::corpus {

struct Content {
  enum class Kind : std::uint8_t {
    pattern,  // one byte all over; without `byte` it is the cluster's own, see pattern_byte
    noise,    // bytes that don't compress
    none,     // nothing is written: the clusters are allocated and stay holes
  };
  Kind kind = Kind::pattern;
  std::optional<std::uint8_t> byte = {};
};

// 1 to 255, different for neighbouring clusters and for a cluster that is written again after a snapshot (`generation`
// counts the snapshots taken before). `qemu-io -c 'read -P BYTE'` verifies it.
[[nodiscard]] constexpr std::uint8_t pattern_byte(std::uint64_t guest_cluster, std::uint32_t generation) {
  return static_cast<std::uint8_t>(1 + (guest_cluster + 37ULL * generation) % 255);
}

// Fills `out`, the whole guest cluster.
void fill_content(const Content& content, std::uint64_t guest_cluster, std::uint32_t generation,
                  base::MutableBytes out);

// Bytes that don't compress, the same for the same seed.
void fill_noise(std::uint64_t seed, base::MutableBytes out);

}  // namespace cowvet::corpus
