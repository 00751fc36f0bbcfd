// Decoding of compressed clusters. Promises: at most `out.size()` bytes are produced and memory is bounded by the
// cluster, whatever the payload says; the outcome tells why a payload is unusable.
#pragma once
#include <cstddef>
#include <cstdint>

#include "base/bytes.hpp"
#include "format/header.hpp"

namespace cowvet::format {

struct Decoded {
  enum class Status : std::uint8_t {
    ok,              // out is full, and the stream ended there
    overlong,        // out is full, the stream has more to say
    truncated,       // the payload ended before the stream did
    short_output,    // the stream ended before out was full
    garbage,         // not a stream of this codec
    checksum,        // zstd: content checksum differs
    window_too_big,  // zstd: needs more memory than a reader grants
  };
  Status status = Status::garbage;
  std::size_t produced = 0;  // bytes written to out
  std::size_t consumed = 0;  // bytes of the payload that the stream took; exact when status is ok
};

// Decodes one cluster. A decoder per thread: it keeps its work memory between calls.
class Decoder {
 public:
  Decoder();
  ~Decoder();
  Decoder(const Decoder&) = delete;
  Decoder& operator=(const Decoder&) = delete;
  Decoder(Decoder&&) noexcept;
  Decoder& operator=(Decoder&&) noexcept;
  [[nodiscard]] Decoded decode(Compression codec, base::ConstBytes payload, base::MutableBytes out);

 private:
  struct Codecs;
  Codecs* codecs_;
};

// Whether the payload opens like the other codec's or like a zlib stream: what to tell a person about garbage.
[[nodiscard]] bool looks_like_zstd(base::ConstBytes payload);
[[nodiscard]] bool looks_like_zlib(base::ConstBytes payload);

}  // namespace cowvet::format
