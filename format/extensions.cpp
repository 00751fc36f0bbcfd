#include "format/extensions.hpp"

#include <algorithm>
#include <ranges>

namespace cowvet::format {

bool known_extension(std::uint32_t type) {
  switch (static_cast<ExtensionType>(type)) {
    case ExtensionType::backing_format:
    case ExtensionType::feature_names:
    case ExtensionType::bitmaps:
    case ExtensionType::encryption:
    case ExtensionType::data_file:
    case ExtensionType::scrap: return true;
    case ExtensionType::end: break;
  }
  return false;
}

const Extension* ExtensionArea::find(ExtensionType type) const {
  auto backwards = list | std::views::reverse;
  auto it = std::ranges::find(backwards, static_cast<std::uint32_t>(type), &Extension::type);
  return it == backwards.end() ? nullptr : &*it;
}

ExtensionArea parse_extensions(base::ConstBytes cluster0, std::uint64_t begin, std::uint64_t end) {
  constexpr std::size_t most_records = 4096;
  ExtensionArea area;
  end = std::min<std::uint64_t>(end, cluster0.size());
  area.end = begin;
  if (begin >= end) return area;

  auto bytes = cluster0.first(static_cast<std::size_t>(end)).subspan(static_cast<std::size_t>(begin));
  base::Cursor cursor{bytes};
  while (cursor.rest().size() >= disk_size<ExtensionHeader> && area.list.size() < most_records) {
    const std::uint64_t position = begin + cursor.position();
    auto record = base::prefix<disk_size<ExtensionHeader>>(*cursor.take(disk_size<ExtensionHeader>));
    const auto header = decode<ExtensionHeader>(*record);
    if (header.type == static_cast<std::uint32_t>(ExtensionType::end)) {
      area.how = ExtensionArea::End::record;
      area.end_length = header.length;
      area.end = begin + cursor.position();
      return area;
    }
    auto data = cursor.take(header.length);
    if (!data) {
      area.how = ExtensionArea::End::overrun;
      area.end = position;
      return area;
    }
    const std::size_t pad = std::min<std::size_t>((8 - header.length % 8) % 8, cursor.rest().size());
    area.list.push_back({position, header.type, *data, *cursor.take(pad)});
    area.end = begin + cursor.position();
  }
  return area;
}

std::string_view as_text(base::ConstBytes bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

std::string_view until_nul(base::ConstBytes bytes) {
  const auto text = as_text(bytes);
  return text.substr(0, text.find('\0'));
}

}  // namespace cowvet::format
