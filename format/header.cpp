#include "format/header.hpp"

namespace cowvet::format {

std::optional<Header> decode_header(base::ConstBytes bytes) {
  auto v2 = base::prefix<disk_size<HeaderV2>>(bytes);
  if (!v2) return std::nullopt;
  Header h;
  h.v2 = decode<HeaderV2>(*v2);
  h.v3 = {.header_length = disk_size<HeaderV2>};
  if (!h.has_v3()) return h;

  auto rest = bytes.subspan(disk_size<HeaderV2>);
  auto v3 = base::prefix<disk_size<HeaderV3>>(rest);
  if (!v3) return std::nullopt;
  h.v3 = decode<HeaderV3>(*v3);

  // A field is absent unless header_length reaches over its first byte; a cut field reads as zeros behind the cut.
  std::array<std::byte, disk_size<HeaderAdditional>> additional{};
  rest = rest.subspan(disk_size<HeaderV3>);
  for (std::size_t i = 0;
       i < additional.size() && i < rest.size() && header_v3_length + i < h.v3.header_length; ++i)
    additional[i] = rest[i];
  h.additional = decode<HeaderAdditional>(additional);
  return h;
}

}  // namespace cowvet::format
