#include "analyzer/references.hpp"

#include <algorithm>
#include <vector>

#include "analyzer/backing_place.hpp"
#include "analyzer/json_name.hpp"
#include "format/extensions.hpp"
#include "format/geometry.hpp"
#include "format/header.hpp"

namespace cowvet::analyzer {

namespace {

constexpr std::uint64_t first_bytes = 4096;  // most writers' names end within

// The first `length` bytes, as far as they exist and can be read.
std::vector<std::byte> start_of(const storage::Device& device, std::uint64_t length) {
  std::vector<std::byte> bytes(static_cast<std::size_t>(std::min(length, device.size())));
  const auto request = device.read(0, bytes);
  bytes.resize(static_cast<std::size_t>(request.os_error != 0 ? request.bad_begin : request.valid));
  return bytes;
}

}  // namespace

std::optional<References> read_references(const storage::Device& device) {
  auto bytes = start_of(device, first_bytes);
  const auto header = format::decode_header(bytes);
  if (!header || header->v2.magic != format::qcow_magic) return std::nullopt;
  const auto geometry =
      format::Geometry::make(header->v2.cluster_bits, header->v3.refcount_order, header->extended_l2());
  if (!geometry) return std::nullopt;
  const std::uint64_t cluster = geometry->cluster_size();
  const std::uint64_t name = header->v2.backing_file_offset.raw(), length = header->v2.backing_file_size;
  const bool named = name != 0 && length != 0 && length <= format::limits::max_backing_name &&
                     name <= cluster && length <= cluster - name;
  if (named && name + length > bytes.size()) bytes = start_of(device, cluster);
  auto area = format::parse_extensions(bytes, header->length(), name != 0 ? name : cluster);
  if (area.how != format::ExtensionArea::End::record && bytes.size() < cluster) {
    bytes = start_of(device, cluster);
    area = format::parse_extensions(bytes, header->length(), name != 0 ? name : cluster);
  }
  References found;
  if (named && name + length <= bytes.size())
    found.backing_name = format::as_text(base::ConstBytes(bytes).subspan(name, length));
  using format::ExtensionType;
  if (const auto* e = area.find(ExtensionType::backing_format))
    found.backing_format = format::as_text(e->data);
  if (const auto* e = area.find(ExtensionType::data_file); e != nullptr && header->external_data_file())
    found.data_file_name = format::as_text(e->data);
  return found;
}

std::optional<std::string> backing_file_path(const std::string& file, const std::string& name) {
  auto place = backing_place(file, name);
  if (place.kind == BackingPlace::Kind::file) return std::move(place.path);
  auto json = json_file(name);
  return json ? std::optional(std::move(json->file)) : std::nullopt;
}

}  // namespace cowvet::analyzer
