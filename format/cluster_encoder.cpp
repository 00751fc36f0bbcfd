#include "format/cluster_encoder.hpp"

#include <zstd.h>

#include "format/deflate_encoder.hpp"

namespace cowvet::format {

struct ClusterEncoder::Codecs {
  DeflateEncoder deflate;
  std::unique_ptr<ZSTD_CCtx, decltype(&ZSTD_freeCCtx)> zstd{ZSTD_createCCtx(), &ZSTD_freeCCtx};
};

ClusterEncoder::ClusterEncoder() : codecs_(std::make_unique<Codecs>()) {}
ClusterEncoder::~ClusterEncoder() = default;

std::vector<std::byte> ClusterEncoder::encode(Compression codec, base::ConstBytes cluster) {
  if (codec != Compression::zstd) return codecs_->deflate.encode(cluster, cluster.size());
  if (cluster.empty() || codecs_->zstd == nullptr) return {};
  std::vector<std::byte> stream(cluster.size() - 1);
  const std::size_t length =
      ZSTD_compress2(codecs_->zstd.get(), stream.data(), stream.size(), cluster.data(), cluster.size());
  stream.resize(ZSTD_isError(length) != 0 ? 0 : length);
  return stream;
}

}  // namespace cowvet::format
