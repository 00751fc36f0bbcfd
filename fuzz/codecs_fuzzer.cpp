// Decoding of a compressed cluster, deflate and zstd, on any payload. Promises: no byte is written behind the
// cluster, no more is consumed than there is, "ok" means a full cluster, and a decoder that was used before
// says the same again. The input: cluster_bits and codec in one byte, then the payload.
#include <algorithm>
#include <vector>

#include "format/compression.hpp"
#include "fuzz/require.hpp"

namespace cowvet::fuzz {
namespace {

void decode(base::ConstBytes input) {
  if (input.empty()) return;
  const auto choice = std::to_integer<unsigned>(input[0]);
  const auto codec = choice % 2 == 0 ? format::Compression::deflate : format::Compression::zstd;
  const auto payload = input.subspan(1);
  static format::Decoder decoder;
  std::vector<std::byte> cluster(std::size_t{1} << (9 + choice / 2 % 8)), again(cluster.size());

  const auto first = decoder.decode(codec, payload, cluster);
  require(first.produced <= cluster.size(), "a cluster is never overrun");
  require(first.consumed <= payload.size(), "a payload is never overrun");
  if (first.status == format::Decoded::Status::ok)
    require(first.produced == cluster.size(), "a decoded cluster is full");
  const auto second = decoder.decode(codec, payload, again);
  require(first.status == second.status && first.produced == second.produced,
          "a decoder forgets what it read");
  if (first.status == format::Decoded::Status::ok) {
    require(first.consumed == second.consumed, "a decoder measures alike");
    require(cluster == again, "a decoder gives the same bytes");
  }
  (void)format::looks_like_zstd(payload);
  (void)format::looks_like_zlib(payload);
}

}  // namespace
}  // namespace cowvet::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  cowvet::fuzz::decode({reinterpret_cast<const std::byte*>(data), size});
  return 0;
}
