// How a few thousand bytes describe an image of any length. An input that opens with the magic of qcow2 is the image
// itself. Any other is a list of pieces {offset: 48 bits, length: 16 bits, that many bytes}, big-endian: the
// bytes lie at that offset, what no piece covers is a hole, a later piece wins, and a piece without bytes
// only makes the file reach to its offset. Promises: total; a piece that the input cuts short holds what is
// left.
#pragma once
#include <cstdint>
#include <optional>
#include <vector>

#include "base/bytes.hpp"

namespace cowvet::fuzz {

struct Piece {
  std::uint64_t offset;    // in the image, bytes
  std::size_t at, length;  // its bytes in the input
};

inline constexpr std::size_t piece_header = 8;
inline constexpr std::uint64_t piece_limit = std::uint64_t{1} << 48;  // offsets stay below

[[nodiscard]] bool is_plain_image(base::ConstBytes input);
[[nodiscard]] std::vector<Piece> pieces_of(base::ConstBytes input);

// An input as the image that it describes, to be read and changed in place.
class SparseInput {
 public:
  // The first `size` bytes of `buffer` are the input; it may grow to fill the buffer.
  SparseInput(base::MutableBytes buffer, std::size_t size);

  [[nodiscard]] std::size_t size() const { return size_; }
  [[nodiscard]] std::uint64_t image_end() const;  // bytes
  // The big-endian integer of `width` bytes (1 to 8) at an offset of the image; holes read as zeros.
  [[nodiscard]] std::uint64_t load(std::uint64_t offset, std::size_t width) const;
  // False when the place is in a hole and there is no room for another piece.
  [[nodiscard]] bool store(std::uint64_t offset, std::size_t width, std::uint64_t value);
  // Makes the file reach to `offset`, as far as there is room to say so.
  [[nodiscard]] bool grow(std::uint64_t offset);

 private:
  [[nodiscard]] std::optional<std::size_t> position_of(
      std::uint64_t offset) const;  // of an image's byte, in the input
  [[nodiscard]] bool append(std::uint64_t offset, std::size_t width, std::uint64_t value);

  base::MutableBytes buffer_;
  std::size_t size_;
  std::vector<Piece> pieces_;
};

}  // namespace cowvet::fuzz
