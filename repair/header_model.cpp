// From the template: version, compression type and extended L2 entries, the disk's size where the content
// leaves it open, and the backing file with its format. Places of tables, counts and what an extension leads
// to are never another image's.
#include "repair/header_model.hpp"

#include <fmt/format.h>

#include "analyzer/info.hpp"
#include "format/extensions.hpp"

namespace cowvet::repair {

namespace {

void append(std::vector<std::byte>& bytes, const auto& record) {
  const auto encoded = format::encode(record);
  bytes.insert(bytes.end(), encoded.begin(), encoded.end());
}
void append_word(std::vector<std::byte>& bytes, std::uint32_t word) {
  for (int shift = 24; shift >= 0; shift -= 8) bytes.push_back(static_cast<std::byte>(word >> shift & 0xff));
}
void append_text(std::vector<std::byte>& bytes, std::string_view text) {
  for (const char c : text) bytes.push_back(static_cast<std::byte>(c));
}

}  // namespace

base::Result<std::optional<std::vector<std::byte>>> header_by_model(const Draft& draft) {
  const auto* device = draft.options().model;
  if (device == nullptr) return std::nullopt;
  const auto refuse = [](std::string_view why) {
    return base::fail(base::ErrorKind::usage, fmt::format("the template {}: give another one, or none", why));
  };
  const auto info = analyzer::read_info(*device, analyzer::Format::qcow2);
  if (!info || !info->header || !info->geometry) return refuse("has no header that can be used");
  const auto& g = draft.geometry();
  const auto& theirs = *info->header;
  if (info->geometry->cluster_size() != g.cluster_size() ||
      info->geometry->refcount_order() != g.refcount_order())
    return refuse("has other clusters or refcounts than the content tells");
  auto header = draft.header();
  // Within the L1 table that was found, or where none was, any size may be right.
  const std::uint64_t size = theirs.v2.size;
  if (header.v2.l1_size == 0 || info->geometry->l1_entries(size) == header.v2.l1_size) header.v2.size = size;
  constexpr std::uint64_t taken =
      format::incompatible_word["compression_type"].mask() | format::incompatible_word["extended_l2"].mask();
  header.v2.version = theirs.v2.version;
  if (header.has_v3()) {
    header.v3.incompatible_features |= theirs.v3.incompatible_features & taken;
    header.v3.refcount_order = g.refcount_order();
    header.v3.header_length = theirs.v3.header_length;
    header.additional = theirs.additional;
  }
  std::vector<std::byte> area;  // extensions, then the name
  const bool below = info->backing_name.has_value();
  if (below && info->backing_format) {
    append_word(area, static_cast<std::uint32_t>(format::ExtensionType::backing_format));
    append_word(area, static_cast<std::uint32_t>(info->backing_format->size()));
    append_text(area, *info->backing_format);
    area.resize((area.size() + 7) & ~std::size_t{7});
  }
  area.resize(area.size() + 8);  // their end
  std::uint64_t length = format::disk_size<format::HeaderV2>;
  if (header.has_v3()) length = std::max<std::uint64_t>(header.v3.header_length, format::header_known_length);
  if (header.has_v3()) header.v3.header_length = static_cast<std::uint32_t>(length);
  if (below) {
    header.v2.backing_file_offset = base::HostOffset{length + area.size()};
    header.v2.backing_file_size = static_cast<std::uint32_t>(info->backing_name->size());
    append_text(area, *info->backing_name);
  }
  if (length + area.size() > g.cluster_size()) return refuse("has a longer header than the first cluster");
  std::vector<std::byte> bytes;
  append(bytes, header.v2);
  if (header.has_v3()) {
    append(bytes, header.v3);
    append(bytes, header.additional);
  }
  bytes.resize(static_cast<std::size_t>(length));
  bytes.insert(bytes.end(), area.begin(), area.end());
  bytes.resize(static_cast<std::size_t>(g.cluster_size()));
  return std::optional(std::move(bytes));
}

}  // namespace cowvet::repair
