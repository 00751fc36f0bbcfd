// The writing half of the header area. The file's first sector is the unit that a crash leaves whole. What lies in the
// cluster behind it is written only where the header in the file does not refer to it, and flushed before the
// first sector does. Names of features help only people: where they are in the way, they go first and come
// back last.
#include <algorithm>
#include <array>

#include "engine/header_area.hpp"

namespace cowvet::engine {

namespace {

using format::limits::sector;
constexpr std::size_t record = format::disk_size<format::ExtensionHeader>;
constexpr auto feature_names = static_cast<std::uint32_t>(format::ExtensionType::feature_names);

std::size_t padded(std::size_t length) { return (length + 7) & ~std::size_t{7}; }

void put(std::vector<std::byte>& bytes, std::size_t at, base::ConstBytes part) {
  std::ranges::copy(part, bytes.begin() + static_cast<std::ptrdiff_t>(at));
}

void put_fields(std::vector<std::byte>& bytes, const format::Header& header) {
  put(bytes, 0, format::encode(header.v2));
  if (!header.has_v3()) return;
  put(bytes, format::disk_size<format::HeaderV2>, format::encode(header.v3));
  const auto additional = format::encode(header.additional);
  const std::size_t there = header.v3.header_length - format::header_v3_length;
  put(bytes, format::header_v3_length,
      base::ConstBytes(additional).first(std::min(there, additional.size())));
}

// Writes the extensions from `begin` on, and the record that ends the list before `limit`. Returns where it
// ends; nothing when they don't fit.
std::optional<std::size_t> put_extensions(std::vector<std::byte>& bytes, std::size_t begin, std::size_t limit,
                                          const std::vector<OwnExtension>& extensions) {
  std::size_t length = record;
  for (const auto& e : extensions) length += record + padded(e.data.size());
  if (begin > limit || length > limit - begin) return std::nullopt;
  std::fill_n(bytes.begin() + static_cast<std::ptrdiff_t>(begin), length, std::byte{0});
  std::size_t at = begin;
  for (const auto& e : extensions) {
    put(bytes, at,
        format::encode(format::ExtensionHeader{e.type, static_cast<std::uint32_t>(e.data.size())}));
    put(bytes, at + record, e.data);
    at += record + padded(e.data.size());
  }
  return begin + length;
}

std::vector<OwnExtension> names_last(std::vector<OwnExtension> extensions) {
  std::ranges::stable_partition(extensions, [](const auto& e) { return e.type != feature_names; });
  return extensions;
}

}  // namespace

void HeaderArea::adopt(const format::Header& header) {
  header_ = header;
  const auto& v3 = header.v3;
  geometry_ = format::Geometry::make(header.v2.cluster_bits, v3.refcount_order, header.extended_l2())
                  .value_or(geometry_);
}

base::Result<void> HeaderArea::store(const format::Header& changed) {
  auto bytes = bytes_;
  put_fields(bytes, changed);
  const auto length = std::min<std::size_t>(changed.length(), format::header_known_length);
  if (auto written = medium_->write_or_end(0, base::ConstBytes(bytes).first(length)); !written)
    return written;
  bytes_ = std::move(bytes);
  adopt(changed);
  return {};
}

// Bytes that the header in the file refers to, behind the first sector.
std::array<HeaderArea::Part, 2> HeaderArea::live_tail() const {
  std::size_t end = header_.length() + record;
  for (std::size_t i = 0; i < extensions_.size(); ++i)
    end = std::max(end, static_cast<std::size_t>(places_[i]) + padded(extensions_[i].data.size()) + record);
  const std::size_t name = header_.v2.backing_file_offset.raw();
  return {Part{sector, std::max(sector, end)},
          Part{std::max(sector, name), std::max(sector, name + (backing_name_ ? backing_name_->size() : 0))}};
}

bool HeaderArea::disturbs(const std::vector<std::byte>& bytes) const {
  for (const auto& part : live_tail())
    for (std::size_t i = part.begin; i < std::min(part.end, bytes.size()); ++i)
      if (bytes[i] != bytes_[i]) return true;
  return false;
}

std::optional<HeaderArea::Composed> HeaderArea::compose(format::Header header,
                                                        const std::vector<OwnExtension>& extensions,
                                                        const std::optional<std::string>& backing_name,
                                                        bool first_sector_only) const {
  const std::size_t begin = header.length();
  auto bytes = bytes_;
  if (!first_sector_only)  // what the old header referred to
    std::fill(bytes.begin() + static_cast<std::ptrdiff_t>(std::min<std::size_t>(begin, header_.length())),
              bytes.end(), std::byte{0});
  if (begin > format::header_known_length && begin == header_.length())  // fields unknown to us
    put(bytes, format::header_known_length,
        base::ConstBytes(bytes_).subspan(format::header_known_length, begin - format::header_known_length));
  const auto end = put_extensions(
      bytes, begin, first_sector_only ? std::min(sector, bytes.size()) : bytes.size(), extensions);
  if (!end) return std::nullopt;

  header.v2.backing_file_offset = {};
  header.v2.backing_file_size = 0;
  if (backing_name) {
    const std::size_t length = backing_name->size();
    const std::size_t old = header_.v2.backing_file_offset.raw();
    const auto live = live_tail();
    const auto free_at = [&](std::size_t at) {
      if (at < *end || at > bytes.size() || length > bytes.size() - at) return false;
      if (backing_name_ == backing_name && at == old) return true;
      return std::ranges::none_of(
          live, [&](const Part& part) { return std::max(at, part.begin) < std::min(at + length, part.end); });
    };
    const std::array places{old, *end, padded(std::max(live[0].end, live[1].end)),
                            bytes.size() - std::min(length, bytes.size())};
    const auto at = std::ranges::find_if(places, free_at);
    if (at == places.end()) return std::nullopt;
    if (first_sector_only && *at < sector && *at + length > sector) return std::nullopt;
    put(bytes, *at, std::as_bytes(std::span(*backing_name)));
    header.v2.backing_file_offset = base::HostOffset{*at};
    header.v2.backing_file_size = static_cast<std::uint32_t>(length);
  }
  put_fields(bytes, header);
  return Composed{std::move(bytes), header};
}

base::Result<void> HeaderArea::write(Composed composed, const std::optional<std::string>& backing_name) {
  auto& [bytes, header] = composed;
  if (bytes.size() > sector && !std::equal(bytes.begin() + sector, bytes.end(), bytes_.begin() + sector)) {
    if (auto written = medium_->write(sector, base::ConstBytes(bytes).subspan(sector)); !written)
      return written;
    if (auto flushed = medium_->flush(); !flushed) return flushed;
  }
  if (auto written = medium_->write_or_end(0, base::ConstBytes(bytes).first(sector)); !written)
    return written;
  if (auto flushed = medium_->flush(); !flushed) return flushed;
  bytes_ = std::move(bytes);
  adopt(header);
  backing_name_ = backing_name;
  const auto name_at = header_.v2.backing_file_offset.raw();
  return read_extensions(header_.length(), name_at != 0 ? name_at : geometry_.cluster_size());
}

std::optional<HeaderArea::Composed> HeaderArea::whole(const format::Header& changed,
                                                      std::vector<OwnExtension> extensions,
                                                      const std::optional<std::string>& backing_name) const {
  auto composed = compose(changed, extensions, backing_name, false);
  if (composed || extensions.empty() || extensions.back().type != feature_names) return composed;
  extensions.pop_back();
  return compose(changed, extensions, backing_name, false);
}

// With the names of features last.
base::Result<HeaderArea::Exchange> HeaderArea::plan(const format::Header& changed,
                                                    std::vector<OwnExtension> extensions,
                                                    const std::optional<std::string>& backing_name) const {
  auto at_once = whole(changed, extensions, backing_name);
  if (at_once && !disturbs(at_once->bytes)) return Exchange{std::move(*at_once), true};
  std::erase_if(extensions, [](const auto& e) { return e.type == feature_names; });
  auto first = compose(changed, extensions, backing_name, true);
  if (!at_once || !first || disturbs(first->bytes))
    return base::fail(base::ErrorKind::limit,
                      "the first cluster has no room for this change: convert the image to larger "
                      "clusters");
  return Exchange{std::move(*first), false};
}

base::Result<void> HeaderArea::has_room(const format::Header& changed, std::vector<OwnExtension> extensions,
                                        const std::optional<std::string>& backing_name) const {
  const auto exchange = plan(changed, names_last(std::move(extensions)), backing_name);
  return exchange ? base::Result<void>{} : std::unexpected(exchange.error());
}

base::Result<void> HeaderArea::store(const format::Header& changed, std::vector<OwnExtension> extensions,
                                     const std::optional<std::string>& backing_name) {
  extensions = names_last(std::move(extensions));
  auto exchange = plan(changed, extensions, backing_name);
  if (!exchange) return std::unexpected(exchange.error());
  if (auto written = write(std::move(exchange->next), backing_name); !written || exchange->complete)
    return written;
  if (auto rest = whole(changed, std::move(extensions), backing_name))
    (void)write(std::move(*rest), backing_name);  // the names are back, or are not: the change is made
  return {};
}

}  // namespace cowvet::engine
