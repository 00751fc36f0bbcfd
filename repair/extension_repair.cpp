// Header extensions that can't be read to their end, or whose type was lost. Promises: a record is changed
// only where the bytes behind it say what it was; the bytes of all other extensions stay.
#include <algorithm>

#include <fmt/format.h>

#include "format/luks.hpp"
#include "repair/extension_area.hpp"
#include "repair/remedies.hpp"

namespace cowvet::repair {

using namespace findings::literals;
using findings::Consent;
using format::ExtensionType;

namespace {

constexpr std::string_view set_area_length = "store the length that the extension has by the one behind it";
constexpr std::string_view set_end = "end the list of extensions where nothing follows";
constexpr std::string_view set_type = "store the type that the extension's content tells";
constexpr std::uint64_t record_bytes = format::disk_size<format::ExtensionHeader>;

std::uint32_t number(ExtensionType type) { return static_cast<std::uint32_t>(type); }

// The first cluster as far as extensions may reach, and the record at hand.
class ExtensionList {
 public:
  explicit ExtensionList(const Draft& draft)
      : bytes_(draft.bytes(0, std::min(draft.geometry().cluster_size(), draft.image().size()))),
        begin_(draft.header().length()),
        end_(bytes_.size()) {
    if (const std::uint64_t name = draft.header().v2.backing_file_offset.raw(); name > begin_ && name < end_)
      end_ = name;
  }
  [[nodiscard]] std::uint64_t begin() const { return begin_; }
  [[nodiscard]] std::uint64_t end() const { return end_; }
  [[nodiscard]] std::uint32_t number_at(std::uint64_t at) const {
    return base::load_be<std::uint32_t, 0>(
        std::span(bytes_).subspan(static_cast<std::size_t>(at)).first<4>());
  }
  [[nodiscard]] bool empty(std::uint64_t from) const {
    return base::all_zero(
        std::span(bytes_).subspan(static_cast<std::size_t>(from), static_cast<std::size_t>(end_ - from)));
  }
  // The list goes on soundly from here to its end.
  [[nodiscard]] bool sound_from(std::uint64_t at) const {
    while (at + record_bytes <= end_) {
      const std::uint32_t type = number_at(at), length = number_at(at + 4);
      if (type == 0 && length == 0) return true;
      if (!format::known_extension(type) || length > end_ - at - record_bytes) return false;
      at += record_bytes + (std::uint64_t{length} + 7) / 8 * 8;
    }
    return at <= end_;
  }
  // The record that runs past the end; nothing when none does.
  [[nodiscard]] std::optional<std::uint64_t> overrun() const {
    for (std::uint64_t at = begin_; at + record_bytes <= end_;) {
      const std::uint32_t type = number_at(at), length = number_at(at + 4);
      if (type == 0) return std::nullopt;
      if (length > end_ - at - record_bytes) return at;
      at += record_bytes + (std::uint64_t{length} + 7) / 8 * 8;
    }
    return std::nullopt;
  }
  // Bytes of text from `at` on, up to the first zero.
  [[nodiscard]] std::uint64_t text(std::uint64_t at, std::uint64_t end) const {
    std::uint64_t length = 0;
    while (at + length < end && bytes_[static_cast<std::size_t>(at + length)] >= std::byte{0x20}) ++length;
    return length;
  }
  [[nodiscard]] base::ConstBytes data(std::uint64_t at, std::uint64_t length) const {
    return std::span(bytes_).subspan(static_cast<std::size_t>(at), static_cast<std::size_t>(length));
  }

 private:
  std::vector<std::byte> bytes_;
  std::uint64_t begin_, end_;
};

// The length of an extension of this type whose room is `room` bytes; nothing when it can't be told.
std::optional<std::uint32_t> length_of(const ExtensionList& area, std::uint32_t type, std::uint64_t data,
                                       std::uint64_t room) {
  constexpr std::uint64_t feature = format::disk_size<format::FeatureName>;
  std::uint64_t length = 0;
  if (type == number(ExtensionType::bitmaps)) length = format::disk_size<format::BitmapsExtension>;
  if (type == number(ExtensionType::encryption)) length = format::disk_size<format::EncryptionExtension>;
  if (type == number(ExtensionType::feature_names)) length = room / feature * feature;
  if (type == number(ExtensionType::backing_format) || type == number(ExtensionType::data_file))
    length = area.text(data, data + room);
  if (length == 0 || (length + 7) / 8 * 8 != room) return std::nullopt;
  return static_cast<std::uint32_t>(length);
}

Remedied mend_overrun(Draft& draft) {
  if (!draft.any("ext/area-overrun"_rule)) return {};
  const auto& finding = draft.found("ext/area-overrun"_rule).front();
  const ExtensionList area(draft);
  const auto at = area.overrun();
  if (!at) return {};
  const std::uint32_t type = area.number_at(*at);
  const std::uint64_t data = *at + record_bytes;
  std::array<std::byte, record_bytes> record{};
  if (!format::known_extension(type)) {
    if (!area.empty(data)) return {};
    auto* action =
        draft.may_act(finding.rule, Consent::choice, set_end,
                      place_from(finding, "behind this record of no known type there are only zeros"));
    return action == nullptr ? Remedied{} : draft.put(*action, *at, record);
  }
  for (std::uint64_t room = 8; data + room <= area.end(); room += 8) {
    const auto length = length_of(area, type, data, room);
    if (!length || !area.sound_from(data + room)) continue;
    record = format::encode(format::ExtensionHeader{.type = type, .length = *length});
    auto* action = draft.may_act(
        finding.rule, Consent::choice, set_area_length,
        place_from(finding, fmt::format("with {} bytes the list goes on soundly, up to its end", *length)));
    return action == nullptr ? Remedied{} : draft.put(*action, *at, record);
  }
  return {};
}

// What an extension of unknown type must be, by its content and by what the header misses.
std::uint32_t type_of(const Draft& draft, base::ConstBytes data, bool crypt_missing, bool bitmaps_missing,
                      bool name_missing) {
  const std::uint64_t cluster = draft.geometry().cluster_size();
  if (crypt_missing && data.size() == format::disk_size<format::EncryptionExtension>) {
    const auto e = format::decode<format::EncryptionExtension>(
        data.first<format::disk_size<format::EncryptionExtension>>());
    const std::uint64_t at = e.offset.raw();
    if (at != 0 && at % cluster == 0 && at < draft.image().size() &&
        std::ranges::equal(draft.bytes(at, format::luks_magic.size()), format::luks_magic))
      return number(ExtensionType::encryption);
  }
  if (bitmaps_missing && data.size() == format::disk_size<format::BitmapsExtension>) {
    const auto e =
        format::decode<format::BitmapsExtension>(data.first<format::disk_size<format::BitmapsExtension>>());
    const std::uint64_t at = e.directory_offset.raw();
    if (e.count != 0 && e.reserved == 0 && at != 0 && at % cluster == 0 && at < draft.image().size() &&
        e.directory_size <= draft.image().size() - at)
      return number(ExtensionType::bitmaps);
  }
  if (name_missing && !data.empty() &&
      std::ranges::all_of(data, [](std::byte b) { return b >= std::byte{0x20}; }))
    return number(ExtensionType::data_file);
  return 0;
}

Remedied mend_types(Draft& draft) {
  auto extensions = read_extension_list(draft);
  if (!extensions.whole || !draft.any("ext/unknown"_rule)) return {};
  const auto& header = draft.header();
  const auto missing = [&](ExtensionType type) { return extensions.find(type) == nullptr; };
  const bool crypt = header.v2.crypt_method == static_cast<std::uint32_t>(format::CryptMethod::luks) &&
                     missing(ExtensionType::encryption);
  const bool bitmaps = header.bitmaps_consistent() && missing(ExtensionType::bitmaps);
  const bool name = header.external_data_file() && missing(ExtensionType::data_file);
  std::uint64_t at = header.length();
  for (const auto& e : extensions.list) {
    const std::uint32_t type =
        format::known_extension(e.type) ? 0 : type_of(draft, e.data, crypt, bitmaps, name);
    if (type != 0) {
      const auto& finding = draft.found("ext/unknown"_rule).front();
      const auto record = format::encode(
          format::ExtensionHeader{.type = type, .length = static_cast<std::uint32_t>(e.data.size())});
      auto* action = draft.may_act(
          finding.rule, Consent::choice, set_type,
          place_from(finding, "the header needs an extension of this kind, and its content is one"));
      return action == nullptr ? Remedied{} : draft.put(*action, at, record);
    }
    at += record_bytes + (e.data.size() + 7) / 8 * 8;
  }
  return {};
}

}  // namespace

Remedied mend_extensions(Draft& draft) {
  if (!draft.verdict().geometry || !draft.verdict().header || draft.verdict().inferred) return {};
  if (auto done = mend_overrun(draft); !done) return done;
  return mend_types(draft);
}

}  // namespace cowvet::repair
