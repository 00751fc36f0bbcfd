#include "engine/header_area.hpp"

#include <algorithm>
#include <array>

#include <fmt/format.h>

namespace cowvet::engine {

namespace {

using base::ErrorKind;
using format::Header;
namespace limits = format::limits;

using base::refuse;

constexpr std::string_view see_check = "the header can't be trusted, see cowvet check";

// The names that an image gives to features, for bits that this program does not know.
std::string named_bits(std::uint64_t bits, base::ConstBytes names) {
  std::string text;
  for (std::uint32_t bit = 0; bit < 64; ++bit) {
    if ((bits >> bit & 1) == 0) continue;
    std::string name = fmt::format("bit {}", bit);
    base::Cursor cursor{names};
    while (const auto bytes = cursor.take(format::disk_size<format::FeatureName>)) {
      const auto record =
          format::decode<format::FeatureName>(*base::prefix<format::disk_size<format::FeatureName>>(*bytes));
      if (record.word == 0 && record.bit == bit) name = format::until_nul(record.name);
    }
    text += (text.empty() ? "" : ", ") + name;
  }
  return text;
}

// What makes every later computation safe: widths and limits, before anything is derived from them.
base::Result<void> check_fields(const Header& h) {
  const auto& v2 = h.v2;
  if (v2.magic != format::qcow_magic)
    return base::fail(ErrorKind::wrong_format,
                      "not a qcow2 image: it does not begin with the magic \"QFI\\xfb\"");
  if (v2.version != 2 && v2.version != 3)
    return refuse(fmt::format("qcow2 version {} is not known: versions 2 and 3 can be opened", v2.version));
  if (v2.cluster_bits < limits::min_cluster_bits || v2.cluster_bits > limits::max_cluster_bits)
    return refuse(fmt::format("cluster_bits is {}, not 9 to 21: {}", v2.cluster_bits, see_check));
  const std::uint64_t cluster_size = 1ULL << v2.cluster_bits;
  if (h.has_v3() && (h.v3.header_length < format::header_v3_length || h.v3.header_length > cluster_size))
    return refuse(fmt::format("header_length is {}: {}", h.v3.header_length, see_check));
  if (h.v3.refcount_order > limits::max_refcount_order)
    return refuse(fmt::format("refcount_order is {}, more than 6: {}", h.v3.refcount_order, see_check));
  if (v2.crypt_method > 2)
    return refuse(fmt::format("crypt_method {} is not known: {}", v2.crypt_method, see_check));
  if (h.extended_l2() && v2.cluster_bits < limits::min_extended_cluster_bits)
    return refuse(fmt::format("extended L2 entries need clusters of 16 KiB, not {} bytes: {}", cluster_size,
                              see_check));
  if (!h.compression())
    return refuse(
        fmt::format("compression type {} is not known to this program", h.additional.compression_type));
  if (h.feature(format::incompatible_word["compression_type"]) != (h.additional.compression_type != 0))
    return refuse(
        fmt::format("the compression type and its feature bit contradict each other: {}", see_check));
  if (v2.size > limits::max_virtual_size)
    return refuse(fmt::format("the disk's size is too large: {}", see_check));
  return {};
}

base::Result<void> check_places(const Header& h, const format::Geometry& g) {
  const auto& v2 = h.v2;
  if (v2.l1_size > limits::max_l1_entries) return refuse(fmt::format("l1_size is too large: {}", see_check));
  if (v2.l1_size < g.l1_entries(v2.size))
    return refuse(fmt::format("the L1 table is too small for the disk's size: {}", see_check));
  if (!g.aligned(v2.l1_table_offset) || (v2.l1_table_offset.raw() == 0 && v2.l1_size != 0) ||
      v2.l1_table_offset.raw() > limits::max_offset)
    return refuse(
        fmt::format("the L1 table's offset {:#x} can't be right: {}", v2.l1_table_offset.raw(), see_check));
  if (v2.backing_file_offset.raw() != 0) {
    if (v2.backing_file_size > limits::max_backing_name)
      return refuse(fmt::format("the backing file's name is longer than 1023 bytes: {}", see_check));
    if (v2.backing_file_offset.raw() < h.length() || v2.backing_file_offset.raw() > g.cluster_size() ||
        v2.backing_file_size > g.cluster_size() - v2.backing_file_offset.raw())
      return refuse(fmt::format("the backing file's name does not lie in the first cluster: {}", see_check));
  }
  return {};
}

}  // namespace

base::Result<HeaderArea> HeaderArea::open(Medium& medium) {
  std::array<std::byte, format::header_known_length> start{};
  const auto request = medium.device().read(0, start);
  if (request.os_error != 0) return std::unexpected(complete(request, "header").error());
  const auto header =
      format::decode_header(base::ConstBytes(start).first(static_cast<std::size_t>(request.valid)));
  if (!header)
    return base::fail(ErrorKind::wrong_format, "not a qcow2 image: the file is shorter than a header");
  if (auto fine = check_fields(*header); !fine) return std::unexpected(fine.error());
  const auto geometry =
      format::Geometry::make(header->v2.cluster_bits, header->v3.refcount_order, header->extended_l2());
  if (!geometry) return base::fail(ErrorKind::usage, std::string(see_check));
  if (auto fine = check_places(*header, *geometry); !fine) return std::unexpected(fine.error());

  HeaderArea area(medium, *header, *geometry);
  area.bytes_.resize(static_cast<std::size_t>(geometry->cluster_size()));
  const auto whole = medium.device().read(0, area.bytes_);
  if (whole.os_error != 0) return std::unexpected(complete(whole, "header").error());
  if (whole.valid < header->length()) return base::fail(ErrorKind::usage, "the file ends within the header");
  const auto name_at = header->v2.backing_file_offset.raw();
  if (auto read = area.read_extensions(header->length(), name_at != 0 ? name_at : geometry->cluster_size());
      !read)
    return std::unexpected(read.error());
  if (name_at != 0 && header->v2.backing_file_size != 0)
    area.backing_name_ =
        format::as_text(base::ConstBytes(area.bytes_)
                            .subspan(static_cast<std::size_t>(name_at), header->v2.backing_file_size));
  const auto* names = area.extension(format::ExtensionType::feature_names);
  if (const auto unknown = header->v3.incompatible_features & format::incompatible_word.reserved_mask;
      unknown != 0)
    return base::fail(ErrorKind::usage,
                      fmt::format("the image needs features that this program does not know: {}",
                                  named_bits(unknown, names != nullptr ? *names : base::ConstBytes())));
  return area;
}

base::Result<void> HeaderArea::read_extensions(std::uint64_t begin, std::uint64_t end) {
  const auto area = format::parse_extensions(bytes_, begin, end);
  if (area.how == format::ExtensionArea::End::overrun)
    return refuse(fmt::format("the header extension at {:#x} does not fit: {}", area.end, see_check));
  extensions_.clear();
  places_.clear();
  for (const auto& e : area.list) {
    extensions_.push_back({e.type, {e.data.begin(), e.data.end()}});
    places_.push_back(e.position + format::disk_size<format::ExtensionHeader>);
  }
  return {};
}

base::Result<void> HeaderArea::writable() const {
  if (header_.corrupt())
    return refuse("the image is marked as corrupt: run cowvet repair, or open it read-only");
  if (header_.has_v3() && header_.v3.header_length % 8 != 0)
    return refuse("header_length is no multiple of 8: the image can be read, not changed; see cowvet check");
  for (std::size_t i = 0; i < extensions_.size(); ++i)
    for (std::size_t j = 0; j < i; ++j)
      if (extensions_[i].type == extensions_[j].type)
        return refuse(
            fmt::format("two header extensions have type {:#x}: the image can be read, not changed; see "
                        "cowvet check",
                        extensions_[i].type));
  return {};
}

const std::vector<std::byte>* HeaderArea::extension(format::ExtensionType type) const {
  const auto found = std::ranges::find(extensions_, static_cast<std::uint32_t>(type), &OwnExtension::type);
  return found == extensions_.end() ? nullptr : &found->data;
}

std::optional<std::string> HeaderArea::text(format::ExtensionType type) const {
  const auto* data = extension(type);
  if (data == nullptr) return std::nullopt;
  return std::string(format::as_text(*data));
}

}  // namespace cowvet::engine
