// Tables of packed entries, read a piece at a time: what an entry claims is never reserved, only what the file has.
#pragma once
#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "analyzer/image.hpp"

namespace cowvet::analyzer {

// The bytes of a table, by position in the table. The caller keeps to positions inside the file.
class Window {
 public:
  static constexpr std::uint64_t size = 256ULL << 10;  // bytes in memory at once

  // `where` names the table in the finding about an I/O error.
  Window(Image& image, base::HostOffset table, std::string where)
      : image_(image), table_(table), where_(std::move(where)) {}

  // [position, position + length), as far as the file has it and at most `size` bytes; valid until the next
  // call. Nothing when the device failed.
  base::ConstBytes at(std::uint64_t position, std::uint64_t length) {
    if (position < begin_ || position + length > begin_ + bytes_.size()) {
      begin_ = position;
      bytes_ = image_.read(base::HostOffset{table_.raw() + position}, size, size, where_);
    }
    const auto there = base::ConstBytes(bytes_).subspan(static_cast<std::size_t>(position - begin_));
    return there.first(static_cast<std::size_t>(std::min<std::uint64_t>(there.size(), length)));
  }

 private:
  Image& image_;
  base::HostOffset table_;
  std::string where_;
  std::uint64_t begin_ = 0;
  std::vector<std::byte> bytes_;
};

}  // namespace cowvet::analyzer
