// Encoding of compressed clusters, ordinary and odd. Promises: the same bytes for the same input and library version;
// without a shape, a stream as QEMU writes it (raw deflate with a 4 KiB window; one zstd frame).
#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/bytes.hpp"

namespace cowvet::format {

struct DeflateShape {
  int window_bits = 12;       // 9 to 15
  bool zlib_wrapper = false;  // two bytes of header before and a checksum after the stream
};
[[nodiscard]] std::vector<std::byte> deflate_cluster(base::ConstBytes cluster,
                                                     const DeflateShape& shape = {});

struct ZstdShape {
  std::uint32_t frames = 1;      // the cluster is cut into this many frames
  bool checksum = false;         // each frame carries a checksum of its content
  bool content_size = true;      // each frame says how long its content is
  bool skippable_first = false;  // an empty skippable frame comes first
  std::uint32_t window_log =
      0;  // 10 to 41: the frame claims this window, whatever it needs; 0 = what it needs
};
[[nodiscard]] std::vector<std::byte> zstd_cluster(base::ConstBytes cluster, const ZstdShape& shape = {});

}  // namespace cowvet::format
