#include "repair/extension_area.hpp"

#include <algorithm>

namespace cowvet::repair {

namespace {

// Where the extensions may lie, bytes of the file.
std::pair<std::uint64_t, std::uint64_t> area(const Draft& draft) {
  const auto& header = draft.header();
  const std::uint64_t begin = header.length();
  std::uint64_t end = std::min(draft.geometry().cluster_size(), draft.image().size());
  if (const std::uint64_t name = header.v2.backing_file_offset.raw(); name >= begin && name < end) end = name;
  return {begin, end};
}

format::ExtensionArea parse(const Draft& draft, const std::vector<std::byte>& cluster0) {
  const auto [begin, end] = area(draft);
  return format::parse_extensions(cluster0, begin, end);
}

}  // namespace

StoredExtension* ExtensionList::find(format::ExtensionType type) {
  const auto found = std::ranges::find(list, static_cast<std::uint32_t>(type), &StoredExtension::type);
  return found == list.end() ? nullptr : &*found;
}

ExtensionList read_extension_list(const Draft& draft) {
  ExtensionList result;
  const auto cluster0 = draft.bytes(0, std::min(draft.geometry().cluster_size(), draft.image().size()));
  const auto parsed = parse(draft, cluster0);
  for (const auto& e : parsed.list)
    result.list.push_back({.type = e.type, .data = {e.data.begin(), e.data.end()}});
  result.whole = parsed.how == format::ExtensionArea::End::record;
  return result;
}

base::Result<bool> write_extension_list(Draft& draft, Action& action, const ExtensionList& extensions) {
  const auto [begin, end] = area(draft);
  const auto cluster0 = draft.bytes(0, std::min(draft.geometry().cluster_size(), draft.image().size()));
  const std::uint64_t old_end = parse(draft, cluster0).end;
  std::vector<std::byte> bytes;
  const auto add = [&](std::uint32_t type, base::ConstBytes data) {
    const auto record = format::encode(
        format::ExtensionHeader{.type = type, .length = static_cast<std::uint32_t>(data.size())});
    bytes.insert(bytes.end(), record.begin(), record.end());
    bytes.insert(bytes.end(), data.begin(), data.end());
    bytes.resize((bytes.size() + 7) & ~std::size_t{7});
  };
  for (const auto& e : extensions.list) add(e.type, e.data);
  add(static_cast<std::uint32_t>(format::ExtensionType::end), {});
  if (begin + bytes.size() > end) return false;
  if (old_end > begin + bytes.size()) bytes.resize(static_cast<std::size_t>(old_end - begin));
  if (auto done = draft.put(action, begin, bytes); !done) return std::unexpected(done.error());
  return true;
}

}  // namespace cowvet::repair
