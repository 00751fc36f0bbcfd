#include "analyzer/header_remains.hpp"

#include <algorithm>
#include <string_view>

#include "base/text.hpp"
#include "format/extensions.hpp"
#include "format/geometry.hpp"
#include "format/header.hpp"

namespace cowvet::analyzer {

namespace {

using format::ExtensionType;

std::uint64_t name_length(base::ConstBytes cluster0, std::uint64_t begin) {
  const auto rest = cluster0.subspan(std::min<std::size_t>(cluster0.size(), static_cast<std::size_t>(begin)));
  const auto end = std::ranges::find(rest, std::byte{0});
  const auto length = static_cast<std::size_t>(end - rest.begin());
  const std::string_view name(reinterpret_cast<const char*>(rest.data()), length);
  return length <= format::limits::max_backing_name && base::plain_text(name) ? length : 0;
}

}  // namespace

std::optional<HeaderRemains> find_header_remains(base::ConstBytes cluster0) {
  struct Beginning {
    std::uint32_t version;
    std::uint64_t at;
  };
  constexpr Beginning beginnings[] = {{3, format::header_known_length},
                                      {3, format::header_v3_length},
                                      {2, format::disk_size<format::HeaderV2>}};
  for (const auto& [version, at] : beginnings) {
    if (at >= cluster0.size()) continue;
    const auto area = format::parse_extensions(cluster0, at, cluster0.size());
    if (area.how != format::ExtensionArea::End::record || area.end_length != 0) continue;
    if (std::ranges::none_of(area.list, [](const auto& e) { return format::known_extension(e.type); }))
      continue;
    return HeaderRemains{.version = version,
                         .begin = at,
                         .end = area.end,
                         .name = name_length(cluster0, area.end),
                         .encryption = area.find(ExtensionType::encryption) != nullptr,
                         .data_file = area.find(ExtensionType::data_file) != nullptr,
                         .bitmaps = area.find(ExtensionType::bitmaps) != nullptr};
  }
  return std::nullopt;
}

}  // namespace cowvet::analyzer
