#include "storage/memory.hpp"

#include <algorithm>
#include <limits>

namespace cowvet::storage {

namespace {
constexpr std::uint64_t hole_unit = 4096;
}

void MemoryDevice::read(std::span<ReadRequest> batch) const {
  for (auto& request : batch) {
    const std::uint64_t there = request.offset < bytes_.size() ? bytes_.size() - request.offset : 0;
    request.valid = std::min<std::uint64_t>(there, request.into.size());
    auto rest = std::copy_n(bytes_.begin() + static_cast<std::ptrdiff_t>(bytes_.size() - there),
                            static_cast<std::ptrdiff_t>(request.valid), request.into.begin());
    std::fill(rest, request.into.end(), std::byte{0});
  }
}

Extent MemoryDevice::extent(std::uint64_t offset) const {
  const auto is_hole = [&](std::uint64_t unit) {
    const auto begin = static_cast<std::size_t>(unit * hole_unit);
    return base::all_zero(
        base::ConstBytes(bytes_).subspan(begin, std::min<std::size_t>(hole_unit, bytes_.size() - begin)));
  };
  const std::uint64_t first = offset / hole_unit;
  const bool hole = is_hole(first);
  std::uint64_t unit = first + 1;
  while (unit * hole_unit < bytes_.size() && is_hole(unit) == hole) ++unit;
  return {first * hole_unit, std::min<std::uint64_t>(unit * hole_unit, bytes_.size()), hole};
}

base::Result<void> MemoryDevice::write(std::uint64_t offset, base::ConstBytes bytes) {
  const std::uint64_t room = std::numeric_limits<std::ptrdiff_t>::max();
  if (offset > room || bytes.size() > room - offset)
    return base::fail(base::ErrorKind::limit, "too large for memory");
  if (offset + bytes.size() > bytes_.size()) bytes_.resize(static_cast<std::size_t>(offset + bytes.size()));
  std::ranges::copy(bytes, bytes_.begin() + static_cast<std::ptrdiff_t>(offset));
  return {};
}

base::Result<void> MemoryDevice::resize(std::uint64_t size) {
  if (size > std::numeric_limits<std::ptrdiff_t>::max())
    return base::fail(base::ErrorKind::limit, "too large for memory");
  bytes_.resize(static_cast<std::size_t>(size));
  return {};
}

}  // namespace cowvet::storage
