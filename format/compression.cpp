// Each codec has a fast way, straight into the cluster; what that declines (streams longer than a cluster, damage) is
// decoded again as a stream, which can tell the cases apart: deflate by zlib, zstd by a context of its own, since how
// much a used one accepts depends on the buffer that it kept from earlier payloads.
#include "format/compression.hpp"

#define ZLIB_CONST  // next_in takes const bytes
#include <memory>
#include <utility>

#include <libdeflate.h>
#include <zlib.h>
#define ZSTD_STATIC_LINKING_ONLY  // ZSTD_d_stableOutBuffer
#include <zstd.h>
#include <zstd_errors.h>

namespace cowvet::format {

struct Decoder::Codecs {
  libdeflate_decompressor* fast = libdeflate_alloc_decompressor();
  z_stream inflate{};
  bool inflate_ready = inflateInit2(&inflate, -MAX_WBITS) == Z_OK;
  ZSTD_DCtx* zstd = ZSTD_createDCtx();

  Codecs() {
    if (zstd == nullptr) return;
    ZSTD_DCtx_setParameter(zstd, ZSTD_d_windowLogMax, zstd_window_log);
    ZSTD_DCtx_setParameter(zstd, ZSTD_d_stableOutBuffer, 1);
  }
  Codecs(const Codecs&) = delete;
  Codecs& operator=(const Codecs&) = delete;
  ~Codecs() {
    if (fast != nullptr) libdeflate_free_decompressor(fast);
    if (inflate_ready) inflateEnd(&inflate);
    ZSTD_freeDCtx(zstd);
  }

  // 8 MiB, which every compressor's ordinary levels respect and four times the largest cluster.
  static constexpr int zstd_window_log = 23;

  Decoded deflate(base::ConstBytes payload, base::MutableBytes out);
  Decoded zstandard(base::ConstBytes payload, base::MutableBytes out);
};

Decoder::Decoder() : codecs_(new Codecs) {}
Decoder::~Decoder() { delete codecs_; }
Decoder::Decoder(Decoder&& other) noexcept : codecs_(std::exchange(other.codecs_, nullptr)) {}
Decoder& Decoder::operator=(Decoder&& other) noexcept {
  std::swap(codecs_, other.codecs_);
  return *this;
}

Decoded Decoder::decode(Compression codec, base::ConstBytes payload, base::MutableBytes out) {
  return codec == Compression::zstd ? codecs_->zstandard(payload, out) : codecs_->deflate(payload, out);
}

Decoded Decoder::Codecs::deflate(base::ConstBytes payload, base::MutableBytes out) {
  using Status = Decoded::Status;
  if (fast != nullptr) {
    std::size_t consumed = 0;
    std::size_t produced = 0;
    const auto result = libdeflate_deflate_decompress_ex(fast, payload.data(), payload.size(), out.data(),
                                                         out.size(), &consumed, &produced);
    if (result == LIBDEFLATE_SUCCESS && produced == out.size()) return {Status::ok, produced, consumed};
  }
  if (!inflate_ready || inflateReset(&inflate) != Z_OK) return {};

  inflate.next_in = reinterpret_cast<const Bytef*>(payload.data());
  inflate.avail_in = static_cast<uInt>(payload.size());
  inflate.next_out = reinterpret_cast<Bytef*>(out.data());
  inflate.avail_out = static_cast<uInt>(out.size());
  const int result = ::inflate(&inflate, Z_FINISH);
  Decoded d{Status::garbage, out.size() - inflate.avail_out, payload.size() - inflate.avail_in};
  if (result == Z_STREAM_END) {
    d.status = inflate.avail_out == 0 ? Status::ok : Status::short_output;
  } else if (result == Z_OK || result == Z_BUF_ERROR) {
    d.status = inflate.avail_out == 0 ? Status::overlong : Status::truncated;
  }
  return d;
}

namespace {

// Several frames may make up a cluster.
Decoded decode_frames(ZSTD_DCtx* zstd, base::ConstBytes payload, base::MutableBytes out) {
  using Status = Decoded::Status;
  ZSTD_inBuffer in{payload.data(), payload.size(), 0};
  ZSTD_outBuffer dst{out.data(), out.size(), 0};
  bool between_frames = false;
  while (true) {
    const std::size_t result = ZSTD_decompressStream(zstd, &dst, &in);
    if (ZSTD_isError(result) != 0) {
      switch (ZSTD_getErrorCode(result)) {
        case ZSTD_error_checksum_wrong: return {Status::checksum, dst.pos, in.pos};
        case ZSTD_error_frameParameter_windowTooLarge: return {Status::window_too_big, dst.pos, in.pos};
        // After a whole frame, what follows in the last sector is padding or the next stream: the output ended early.
        default: return {between_frames ? Status::short_output : Status::garbage, dst.pos, in.pos};
      }
    }
    between_frames = result == 0;
    if (dst.pos == dst.size) return {result == 0 ? Status::ok : Status::overlong, dst.pos, in.pos};
    if (in.pos == in.size) return {result == 0 ? Status::short_output : Status::truncated, dst.pos, in.pos};
  }
}

}  // namespace

Decoded Decoder::Codecs::zstandard(base::ConstBytes payload, base::MutableBytes out) {
  if (zstd != nullptr) {
    ZSTD_DCtx_reset(zstd, ZSTD_reset_session_only);
    const auto decoded = decode_frames(zstd, payload, out);
    if (decoded.status == Decoded::Status::ok || ZSTD_isFrame(payload.data(), payload.size()) == 0)
      return decoded;
  }
  const std::unique_ptr<ZSTD_DCtx, decltype(&ZSTD_freeDCtx)> fresh{ZSTD_createDCtx(), &ZSTD_freeDCtx};
  if (fresh == nullptr) return {};
  ZSTD_DCtx_setParameter(fresh.get(), ZSTD_d_windowLogMax, zstd_window_log);
  return decode_frames(fresh.get(), payload, out);
}

bool looks_like_zstd(base::ConstBytes payload) {
  auto b = base::prefix<4>(payload);
  return b && base::load_be<std::uint32_t, 0>(*b) == 0x28B52FFD;
}

bool looks_like_zlib(base::ConstBytes payload) {
  auto b = base::prefix<2>(payload);
  if (!b) return false;
  const auto head = base::load_be<std::uint16_t, 0>(*b);
  return (head >> 8 & 0x0f) == 8 && (head >> 12) <= 7 && head % 31 == 0;
}

}  // namespace cowvet::format
