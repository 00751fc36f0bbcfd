// Header extensions: the records between the header and the backing file name. Promises: parsing is total; what could
// not be parsed is said, never guessed; unknown extensions keep their bytes.
#pragma once
#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "base/bytes.hpp"
#include "base/units.hpp"
#include "format/record.hpp"

namespace cowvet::format {

enum class ExtensionType : std::uint32_t {
  end = 0,
  backing_format = 0xE2792ACA,
  feature_names = 0x6803F857,
  bitmaps = 0x23852875,
  encryption = 0x0537BE77,
  data_file = 0x44415441,
  scrap = 0x53435250,  // cowvet's own: see scrap.hpp
};
// Whether it is one of these, other than `end`.
[[nodiscard]] bool known_extension(std::uint32_t type);

struct ExtensionHeader {
  std::uint32_t type = 0;
  std::uint32_t length = 0;
};
template <>
inline constexpr auto layout<ExtensionHeader> = record(
    "extension", "Header extensions", field<0, &ExtensionHeader::type>("type", "0 ends the list"),
    field<4, &ExtensionHeader::length>("length", "bytes of data, without the padding to a multiple of 8"));

struct FeatureName {
  std::uint8_t word = 0;
  std::uint8_t bit = 0;
  std::array<std::byte, 46> name{};
};
template <>
inline constexpr auto layout<FeatureName> =
    record("feature_name", "Feature name table",
           field<0, &FeatureName::word>("word", "0 incompatible, 1 compatible, 2 autoclear"),
           field<1, &FeatureName::bit>("bit", "0 to 63"),
           field<2, &FeatureName::name>("name", "padded with zeros, not always terminated"));
static_assert(disk_size<FeatureName> == 48);

struct BitmapsExtension {
  std::uint32_t count = 0;
  std::uint32_t reserved = 0;
  std::uint64_t directory_size = 0;
  base::HostOffset directory_offset;
};
template <>
inline constexpr auto layout<BitmapsExtension> =
    record("bitmaps", "Bitmaps extension", field<0, &BitmapsExtension::count>("count", "bitmaps, 1 to 65535"),
           field<4, &BitmapsExtension::reserved>("reserved", "zero"),
           field<8, &BitmapsExtension::directory_size>("directory_size", "bytes"),
           field<16, &BitmapsExtension::directory_offset>("directory_offset", "cluster aligned"));
static_assert(disk_size<BitmapsExtension> == 24);

struct EncryptionExtension {
  base::HostOffset offset;
  std::uint64_t length = 0;
};
template <>
inline constexpr auto layout<EncryptionExtension> = record(
    "encryption", "Full disk encryption header pointer",
    field<0, &EncryptionExtension::offset>("offset", "of the LUKS header, cluster aligned"),
    field<8, &EncryptionExtension::length>("length", "bytes of the LUKS header with its key material"));
static_assert(disk_size<EncryptionExtension> == 16);

// One extension as found. `data` refers to the bytes that were parsed.
struct Extension {
  std::uint64_t position;  // of its record, bytes from the start of the file
  std::uint32_t type;
  base::ConstBytes data;
  base::ConstBytes padding;  // after the data, up to the next multiple of 8 (as far as the area has it)
};

struct ExtensionArea {
  enum class End : std::uint8_t { record, area_exhausted, overrun };
  std::vector<Extension> list;    // without the end record, in file order
  End how = End::area_exhausted;  // an end record, the area's end, or a record that does not fit
  std::uint32_t end_length = 0;   // what the end record says its length is
  std::uint64_t end = 0;  // bytes from the file's start: where parsing stopped (after the end record, if any)

  // The last extension of a type, as readers take it; null if there is none.
  [[nodiscard]] const Extension* find(ExtensionType type) const;
};

// Parses the extension area. `cluster0` are the file's first bytes (up to one cluster), the area is [begin, end) of
// them; an end behind the bytes at hand is cut to them. At most 4096 records are taken.
[[nodiscard]] ExtensionArea parse_extensions(base::ConstBytes cluster0, std::uint64_t begin,
                                             std::uint64_t end);

// The extension's data as its record, when the length is exactly right.
template <Record T>
[[nodiscard]] std::optional<T> exact(base::ConstBytes data) {
  auto bytes = base::prefix<disk_size<T>>(data);
  if (!bytes || data.size() != disk_size<T>) return std::nullopt;
  return decode<T>(*bytes);
}

// The bytes as text, untouched.
[[nodiscard]] std::string_view as_text(base::ConstBytes bytes);
// A fixed-width string up to its first NUL.
[[nodiscard]] std::string_view until_nul(base::ConstBytes bytes);

}  // namespace cowvet::format
