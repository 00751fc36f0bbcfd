// A file in memory that costs nothing where nothing was written. Promises: reads behind the end give zeros; a page that
// was never written, or was punched, is a hole and stays one when saved; copies share their pages until one is changed.
#pragma once
#include <algorithm>
#include <array>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/bytes.hpp"
#include "base/result.hpp"

namespace cowvet::corpus {

class SparseBytes {
 public:
  static constexpr std::uint64_t page_size = 4096;

  // A run of written bytes; what lies between two runs is a hole.
  struct Extent {
    std::uint64_t offset, length;
    friend bool operator==(const Extent&, const Extent&) = default;
  };

  [[nodiscard]] std::uint64_t size() const { return size_; }
  // Cuts the file, or grows it by a hole.
  void resize(std::uint64_t size);

  // Each of these grows the file when the range reaches over its end.
  void write(std::uint64_t offset, base::ConstBytes bytes);
  void fill(std::uint64_t offset, std::uint64_t length, std::byte value);
  void punch(std::uint64_t offset,
             std::uint64_t length);  // whole pages become holes, their neighbours' bytes zero

  void read(std::uint64_t offset, base::MutableBytes out) const;
  [[nodiscard]] std::vector<std::byte> read(std::uint64_t offset, std::uint64_t length) const;

  // The big-endian integer of `width` bytes (1 to 8) at `offset`.
  [[nodiscard]] std::uint64_t load(std::uint64_t offset, std::size_t width) const;
  void store(std::uint64_t offset, std::size_t width, std::uint64_t value);

  // Calls `each(index, word)` for the big-endian 64-bit words of a table that are not zero. Holes cost nothing; `each`
  // may change the file.
  template <class F>
  void for_words(std::uint64_t offset, std::uint64_t count, F each) const {
    for (std::uint64_t i = 0; i < count;) {
      const std::uint64_t at = offset + i * 8;
      const auto page = pages_.lower_bound(at / page_size);
      if (page == pages_.end()) return;
      if (page->first != at / page_size) {
        i = std::max(i + 1, (page->first * page_size - offset) / 8);
      } else {
        const std::uint64_t word = load(at, 8);
        if (word != 0) each(i, word);
        ++i;
      }
    }
  }

  [[nodiscard]] std::vector<Extent> extents() const;
  // All bytes at once; for files that are known to be small.
  [[nodiscard]] std::vector<std::byte> bytes() const { return read(0, size_); }
  // Writes the file, replacing what is there, and leaves the holes to the file system.
  [[nodiscard]] base::Result<void> save(const std::string& path) const;

  // The same length and bytes, wherever the holes are.
  friend bool operator==(const SparseBytes& a, const SparseBytes& b);

 private:
  using Page = std::array<std::byte, page_size>;
  Page& writable(std::uint64_t page);
  void cover(std::uint64_t offset, std::uint64_t length);

  std::map<std::uint64_t, std::shared_ptr<Page>> pages_;
  std::uint64_t size_ = 0;
};

}  // namespace cowvet::corpus
