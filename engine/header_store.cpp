// The writing half of the header area. The file's first sector is the unit that a crash leaves whole; what lies in the
// cluster behind it is written only while the first sector does not refer to it.
#include <algorithm>

#include "engine/header_area.hpp"

namespace cowvet::engine {

namespace {

void put(std::vector<std::byte>& bytes, std::size_t at, base::ConstBytes part) {
  std::ranges::copy(part, bytes.begin() + static_cast<std::ptrdiff_t>(at));
}

void put_fields(std::vector<std::byte>& bytes, const format::Header& header) {
  put(bytes, 0, format::encode(header.v2));
  if (!header.has_v3()) return;
  put(bytes, format::disk_size<format::HeaderV2>, format::encode(header.v3));
  const auto additional = format::encode(header.additional);
  const std::size_t there = header.v3.header_length - format::header_v3_length;
  put(bytes, format::header_v3_length, base::ConstBytes(additional).first(std::min(there, additional.size())));
}

}  // namespace

base::Result<void> HeaderArea::store(const format::Header& changed) {
  auto bytes = bytes_;
  put_fields(bytes, changed);
  // From the first byte on that differs; all of it lies in the first sector.
  const auto length = std::min<std::size_t>(changed.length(), format::header_known_length);
  if (auto written = medium_->write_or_end(0, base::ConstBytes(bytes).first(length)); !written) return written;
  bytes_ = std::move(bytes);
  header_ = changed;
  return {};
}

base::Result<void> HeaderArea::overwrite(format::ExtensionType type, base::ConstBytes data) {
  const auto place = place_of(type);
  if (!place) return base::fail(base::ErrorKind::usage, "the header has no such extension");
  if (auto written = medium_->write_or_end(*place, data); !written) return written;
  put(bytes_, static_cast<std::size_t>(*place), data);
  for (auto& e : extensions_)
    if (e.type == static_cast<std::uint32_t>(type)) e.data.assign(data.begin(), data.end());
  return {};
}

}  // namespace cowvet::engine
