#include "format/compress.hpp"

#define ZLIB_CONST  // next_in takes const bytes
#include <array>
#include <memory>

#include <zlib.h>
#include <zstd.h>

namespace cowvet::format {
namespace {

using Context = std::unique_ptr<ZSTD_CCtx, decltype(&ZSTD_freeCCtx)>;

// Puts a window descriptor that claims 2^log bytes into a frame that has one (RFC 8878, 3.1.1.1).
void claim_window(base::MutableBytes frame, std::uint32_t log) {
  constexpr std::size_t descriptor_at = 5;  // after the magic and the frame header descriptor
  if (frame.size() > descriptor_at) frame[descriptor_at] = static_cast<std::byte>((log - 10) << 3);
}

void append_frame(ZSTD_CCtx* context, base::ConstBytes part, const ZstdShape& shape,
                  std::vector<std::byte>& out) {
  ZSTD_CCtx_reset(context, ZSTD_reset_session_only);
  const std::size_t start = out.size();
  out.resize(start + ZSTD_compressBound(part.size()) + 64);
  ZSTD_inBuffer from{part.data(), part.size(), 0};
  ZSTD_outBuffer to{out.data() + start, out.size() - start, 0};
  if (shape.window_log != 0) {
    // Handed over in two steps, the content's size is unknown and the frame gets a window descriptor.
    ZSTD_inBuffer half{part.data(), part.size() / 2, 0};
    ZSTD_compressStream2(context, &to, &half, ZSTD_e_continue);
    from.pos = half.pos;
  }
  while (ZSTD_compressStream2(context, &to, &from, ZSTD_e_end) != 0 && to.pos < to.size) {
  }
  out.resize(start + to.pos);
  if (shape.window_log != 0) claim_window(base::MutableBytes(out).subspan(start), shape.window_log);
}

}  // namespace

std::vector<std::byte> deflate_cluster(base::ConstBytes cluster, const DeflateShape& shape) {
  constexpr int memory_level = 9;
  z_stream stream{};
  const int window = shape.zlib_wrapper ? shape.window_bits : -shape.window_bits;
  if (deflateInit2(&stream, Z_DEFAULT_COMPRESSION, Z_DEFLATED, window, memory_level, Z_DEFAULT_STRATEGY) !=
      Z_OK)
    return {};
  std::vector<std::byte> out(deflateBound(&stream, cluster.size()));
  stream.next_in = reinterpret_cast<const Bytef*>(cluster.data());
  stream.avail_in = static_cast<uInt>(cluster.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  const bool ended = deflate(&stream, Z_FINISH) == Z_STREAM_END;
  out.resize(ended ? stream.total_out : 0);
  deflateEnd(&stream);
  return out;
}

std::vector<std::byte> zstd_cluster(base::ConstBytes cluster, const ZstdShape& shape) {
  std::vector<std::byte> out;
  if (shape.skippable_first) {
    constexpr std::array<unsigned char, 8> skippable{0x50, 0x2a, 0x4d, 0x18, 0, 0, 0, 0};
    for (auto byte : skippable) out.push_back(std::byte{byte});
  }
  const Context context{ZSTD_createCCtx(), &ZSTD_freeCCtx};
  ZSTD_CCtx_setParameter(context.get(), ZSTD_c_checksumFlag, shape.checksum ? 1 : 0);
  ZSTD_CCtx_setParameter(context.get(), ZSTD_c_contentSizeFlag, shape.content_size ? 1 : 0);
  const std::size_t share = cluster.size() / (shape.frames == 0 ? 1 : shape.frames);
  for (std::uint32_t i = 1; i < shape.frames; ++i) {
    append_frame(context.get(), cluster.first(share), shape, out);
    cluster = cluster.subspan(share);
  }
  append_frame(context.get(), cluster, shape, out);
  return out;
}

}  // namespace cowvet::format
