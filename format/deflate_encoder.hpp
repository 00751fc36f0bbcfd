// Deflate for compressed clusters (RFC 1951). Promises: no match lies farther back than 4096 bytes, since
// readers of qcow2 may have a window of no more than that; the same input gives the same stream, whatever was
// encoded before.
//
// How it is fast: the window is so small that its hash tables stay in the first cache, and each block's exact
// size is known before a bit of it is written.
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "base/bytes.hpp"

namespace cowvet::format {

// One a thread: it keeps its work memory (some 100 KiB) between calls.
class DeflateEncoder {
 public:
  DeflateEncoder();
  ~DeflateEncoder();
  DeflateEncoder(const DeflateEncoder&) = delete;
  DeflateEncoder& operator=(const DeflateEncoder&) = delete;
  DeflateEncoder(DeflateEncoder&&) noexcept;
  DeflateEncoder& operator=(DeflateEncoder&&) noexcept;

  // A stream of less than `limit` bytes; empty when it would not be. `input` has at most 2^31 bytes.
  [[nodiscard]] std::vector<std::byte> encode(base::ConstBytes input, std::size_t limit);

 private:
  struct Work;
  std::unique_ptr<Work> work_;
};

}  // namespace cowvet::format
