#include "corpus/builder/sparse_bytes.hpp"

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>

namespace cowvet::corpus {
namespace {

// Calls `each(page, first byte in it, bytes)` for the pages that a range touches.
template <class F>
void for_pages(std::uint64_t offset, std::uint64_t length, F each) {
  constexpr auto page_size = SparseBytes::page_size;
  while (length != 0) {
    const std::uint64_t at = offset % page_size;
    const std::uint64_t n = std::min(length, page_size - at);
    each(offset / page_size, static_cast<std::size_t>(at), static_cast<std::size_t>(n));
    offset += n;
    length -= n;
  }
}

}  // namespace

SparseBytes::Page& SparseBytes::writable(std::uint64_t page) {
  auto& slot = pages_[page];
  if (!slot) {
    slot = std::make_shared<Page>();
  } else if (slot.use_count() > 1) {
    slot = std::make_shared<Page>(*slot);
  }
  return *slot;
}

void SparseBytes::cover(std::uint64_t offset, std::uint64_t length) {
  size_ = std::max(size_, offset + length);
}

void SparseBytes::resize(std::uint64_t size) {
  if (size < size_) {
    if (size % page_size != 0 && pages_.contains(size / page_size)) {
      auto& page = writable(size / page_size);
      std::fill(page.begin() + static_cast<std::ptrdiff_t>(size % page_size), page.end(), std::byte{0});
    }
    pages_.erase(pages_.lower_bound((size + page_size - 1) / page_size), pages_.end());
  }
  size_ = size;
}

void SparseBytes::write(std::uint64_t offset, base::ConstBytes bytes) {
  cover(offset, bytes.size());
  for_pages(offset, bytes.size(), [&](std::uint64_t page, std::size_t at, std::size_t n) {
    std::ranges::copy(bytes.first(n), writable(page).begin() + static_cast<std::ptrdiff_t>(at));
    bytes = bytes.subspan(n);
  });
}

void SparseBytes::fill(std::uint64_t offset, std::uint64_t length, std::byte value) {
  cover(offset, length);
  std::shared_ptr<Page> whole;  // one page serves all that are filled entirely
  for_pages(offset, length, [&](std::uint64_t page, std::size_t at, std::size_t n) {
    if (n == page_size) {
      if (!whole) {
        whole = std::make_shared<Page>();
        whole->fill(value);
      }
      pages_[page] = whole;
    } else {
      std::ranges::fill(std::span(writable(page)).subspan(at, n), value);
    }
  });
}

void SparseBytes::punch(std::uint64_t offset, std::uint64_t length) {
  cover(offset, length);
  const std::uint64_t end = offset + length;
  const std::uint64_t first = (offset + page_size - 1) / page_size;  // whole pages are [first, last)
  const std::uint64_t last = end / page_size;
  auto clear = [&](std::uint64_t from, std::uint64_t to) {
    if (from < to && pages_.contains(from / page_size)) fill(from, to - from, std::byte{0});
  };
  if (first > last) return clear(offset, end);
  clear(offset, first * page_size);
  clear(last * page_size, end);
  pages_.erase(pages_.lower_bound(first), pages_.lower_bound(last));
}

void SparseBytes::read(std::uint64_t offset, base::MutableBytes out) const {
  for_pages(offset, out.size(), [&](std::uint64_t page, std::size_t at, std::size_t n) {
    auto found = pages_.find(page);
    if (found == pages_.end()) {
      std::memset(out.data(), 0, n);  // a plain loop is what the fuzzers would spend most of their time in
    } else {
      std::memcpy(out.data(), found->second->data() + at, n);
    }
    out = out.subspan(n);
  });
}

std::vector<std::byte> SparseBytes::read(std::uint64_t offset, std::uint64_t length) const {
  std::vector<std::byte> out(static_cast<std::size_t>(length));
  read(offset, out);
  return out;
}

std::uint64_t SparseBytes::load(std::uint64_t offset, std::size_t width) const {
  std::array<std::byte, 8> raw{};
  read(offset, std::span(raw).first(width));
  std::uint64_t value = 0;
  for (std::size_t i = 0; i < width; ++i) value = value << 8 | std::to_integer<std::uint64_t>(raw[i]);
  return value;
}

void SparseBytes::store(std::uint64_t offset, std::size_t width, std::uint64_t value) {
  std::array<std::byte, 8> raw{};
  for (std::size_t i = 0; i < width; ++i)
    raw[width - 1 - i] = static_cast<std::byte>(value >> (8 * i) & 0xff);
  write(offset, std::span(raw).first(width));
}

std::vector<SparseBytes::Extent> SparseBytes::extents() const {
  std::vector<Extent> list;
  for (const auto& [page, bytes] : pages_) {
    const std::uint64_t offset = page * page_size;
    if (offset >= size_) break;
    const std::uint64_t length = std::min(page_size, size_ - offset);
    if (!list.empty() && list.back().offset + list.back().length == offset) {
      list.back().length += length;
    } else {
      list.push_back({offset, length});
    }
  }
  return list;
}

base::Result<void> SparseBytes::save(const std::string& path) const {
  std::ofstream out(path, std::ios::binary | std::ios::trunc);
  std::vector<std::byte> block;
  for (auto extent : extents()) {
    out.seekp(static_cast<std::streamoff>(extent.offset));
    while (extent.length != 0) {
      block.resize(static_cast<std::size_t>(std::min<std::uint64_t>(extent.length, 1U << 20)));
      read(extent.offset, block);
      out.write(reinterpret_cast<const char*>(block.data()), static_cast<std::streamsize>(block.size()));
      extent.offset += block.size();
      extent.length -= block.size();
    }
  }
  out.close();
  std::error_code error;
  if (out) std::filesystem::resize_file(path, size_, error);
  if (!out || error) {
    return base::fail(base::ErrorKind::io,
                      "can't write " + path + (error ? ": " + error.message() : std::string()),
                      error.value());
  }
  return {};
}

bool operator==(const SparseBytes& a, const SparseBytes& b) {
  // Whether each page that `one` has is the same in `other`; a page that is missing there must be zeros.
  auto agree = [](const SparseBytes& one, const SparseBytes& other) {
    return std::ranges::all_of(one.pages_, [&](const auto& entry) {
      const auto found = other.pages_.find(entry.first);
      return found == other.pages_.end() ? base::all_zero(*entry.second) : *found->second == *entry.second;
    });
  };
  return a.size_ == b.size_ && agree(a, b) && agree(b, a);
}

}  // namespace cowvet::corpus
