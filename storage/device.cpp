#include "storage/device.hpp"

#include <algorithm>
#include <array>

#include "base/checked.hpp"

namespace cowvet::storage {

namespace {
// What is written at a time where zeros must be written.
constexpr std::array<std::byte, 256 * 1024> zeros{};
}  // namespace

ReadRequest Device::read(std::uint64_t offset, base::MutableBytes into) const {
  ReadRequest request{.offset = offset, .into = into};
  read({&request, 1});
  return request;
}

base::Result<void> Device::read_only() { return base::fail(base::ErrorKind::usage, "opened read-only"); }

base::Result<void> Device::write(std::uint64_t, base::ConstBytes) { return read_only(); }
base::Result<void> Device::resize(std::uint64_t) { return read_only(); }
base::Result<void> Device::flush() { return {}; }

base::Result<void> Device::discard(std::uint64_t offset, std::uint64_t length) {
  const std::uint64_t end = std::min(base::saturating_add(offset, length), size());
  return offset < end ? zero(offset, end - offset) : base::Result<void>{};
}

// Holes stay holes: zeros are written only where there is data.
base::Result<void> Device::zero(std::uint64_t offset, std::uint64_t length) {
  if (length == 0) return {};
  const auto end = base::checked_add(offset, length);
  if (!end) return base::fail(base::ErrorKind::limit, "the image would become too large for any file");
  const std::uint64_t written_end = std::min(*end, size());
  if (*end > size())
    if (auto grown = resize(*end); !grown) return grown;
  while (offset < written_end) {
    const auto part = extent(offset);
    const std::uint64_t left = std::min(part.end, written_end) - offset;
    const auto step = part.hole ? left : std::min<std::uint64_t>(left, zeros.size());
    if (!part.hole)
      if (auto put = write(offset, base::ConstBytes(zeros).first(static_cast<std::size_t>(step))); !put)
        return put;
    offset += step;
  }
  return {};
}

base::Result<void> Device::preallocate(std::uint64_t offset, std::uint64_t length) {
  const auto end = base::checked_add(offset, length);
  if (!end) return base::fail(base::ErrorKind::limit, "the image would become too large for any file");
  return length > 0 && *end > size() ? resize(*end) : base::Result<void>{};
}

}  // namespace cowvet::storage
