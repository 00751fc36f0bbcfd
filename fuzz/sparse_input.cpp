#include "fuzz/sparse_input.hpp"

#include <algorithm>
#include <ranges>

#include "format/header.hpp"

namespace cowvet::fuzz {

namespace {

std::uint64_t big_endian(base::ConstBytes bytes) {
  std::uint64_t value = 0;
  for (const std::byte b : bytes) value = value << 8 | std::to_integer<std::uint64_t>(b);
  return value;
}

void put_big_endian(base::MutableBytes bytes, std::uint64_t value) {
  for (std::byte& b : bytes | std::views::reverse) {
    b = static_cast<std::byte>(value & 0xff);
    value >>= 8;
  }
}

}  // namespace

bool is_plain_image(base::ConstBytes input) {
  return input.size() >= 4 && big_endian(input.first(4)) == format::qcow_magic;
}

std::vector<Piece> pieces_of(base::ConstBytes input) {
  if (is_plain_image(input)) return {{0, 0, input.size()}};
  std::vector<Piece> pieces;
  for (std::size_t at = 0; input.size() - at >= piece_header;) {
    const std::uint64_t head = big_endian(input.subspan(at, piece_header));
    at += piece_header;
    const std::size_t length = std::min<std::size_t>(head & 0xffff, input.size() - at);
    pieces.push_back({head >> 16, at, length});
    at += length;
  }
  return pieces;
}

SparseInput::SparseInput(base::MutableBytes buffer, std::size_t size)
    : buffer_(buffer), size_(size), pieces_(pieces_of(buffer.first(size))) {}

std::uint64_t SparseInput::image_end() const {
  std::uint64_t end = 0;
  for (const auto& piece : pieces_) end = std::max(end, piece.offset + piece.length);
  return end;
}

std::optional<std::size_t> SparseInput::position_of(std::uint64_t offset) const {
  for (const auto& piece : pieces_ | std::views::reverse)
    if (offset >= piece.offset && offset - piece.offset < piece.length)
      return piece.at + static_cast<std::size_t>(offset - piece.offset);
  return std::nullopt;
}

std::uint64_t SparseInput::load(std::uint64_t offset, std::size_t width) const {
  std::uint64_t value = 0;
  for (std::size_t i = 0; i < width; ++i) {
    const auto at = position_of(offset + i);
    value = value << 8 | (at ? std::to_integer<std::uint64_t>(buffer_[*at]) : 0);
  }
  return value;
}

bool SparseInput::store(std::uint64_t offset, std::size_t width, std::uint64_t value) {
  for (std::size_t i = 0; i < width; ++i)
    if (!position_of(offset + i)) return append(offset, width, value);
  for (std::size_t i = 0; i < width; ++i)
    buffer_[*position_of(offset + i)] = static_cast<std::byte>(value >> (8 * (width - 1 - i)) & 0xff);
  return true;
}

bool SparseInput::grow(std::uint64_t offset) { return append(offset, 0, 0); }

bool SparseInput::append(std::uint64_t offset, std::size_t width, std::uint64_t value) {
  if (is_plain_image(buffer_.first(size_)) || offset >= piece_limit) return false;
  if (buffer_.size() - size_ < piece_header + width) return false;
  put_big_endian(buffer_.subspan(size_, piece_header), offset << 16 | width);
  put_big_endian(buffer_.subspan(size_ + piece_header, width), value);
  pieces_.push_back({offset, size_ + piece_header, width});
  size_ += piece_header + width;
  return true;
}

}  // namespace cowvet::fuzz
