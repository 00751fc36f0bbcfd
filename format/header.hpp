// The header of a qcow2 image: its records, its feature words, and one value that holds whatever a file's first bytes
// say. Promises: no judgement; a version 2 header never shows version 3 fields.
#pragma once
#include <cstdint>
#include <optional>

#include "base/bytes.hpp"
#include "base/units.hpp"
#include "format/bits.hpp"
#include "format/record.hpp"

namespace cowvet::format {

inline constexpr std::uint32_t qcow_magic = 0x514649fb;  // "QFI\xfb"

// Bytes 0 to 71: all that version 2 has.
struct HeaderV2 {
  std::uint32_t magic = qcow_magic;
  std::uint32_t version = 3;
  base::HostOffset backing_file_offset;
  std::uint32_t backing_file_size = 0;
  std::uint32_t cluster_bits = 16;
  std::uint64_t size = 0;
  std::uint32_t crypt_method = 0;
  std::uint32_t l1_size = 0;
  base::HostOffset l1_table_offset;
  base::HostOffset refcount_table_offset;
  std::uint32_t refcount_table_clusters = 0;
  std::uint32_t nb_snapshots = 0;
  base::HostOffset snapshots_offset;
};
template <>
inline constexpr auto layout<HeaderV2> = record(
    "header", "Header", field<0, &HeaderV2::magic>("magic", "51 46 49 FB"),
    field<4, &HeaderV2::version>("version", "2 or 3"),
    field<8, &HeaderV2::backing_file_offset>("backing_file_offset", "bytes; 0 = no backing file"),
    field<16, &HeaderV2::backing_file_size>("backing_file_size", "length of the name in bytes, at most 1023"),
    field<20, &HeaderV2::cluster_bits>("cluster_bits", "cluster size is 1 << cluster_bits; 9 to 21"),
    field<24, &HeaderV2::size>("size", "virtual disk size in bytes"),
    field<32, &HeaderV2::crypt_method>("crypt_method", "0 none, 1 AES, 2 LUKS"),
    field<36, &HeaderV2::l1_size>("l1_size", "entries of the active L1 table"),
    field<40, &HeaderV2::l1_table_offset>("l1_table_offset", "cluster aligned"),
    field<48, &HeaderV2::refcount_table_offset>("refcount_table_offset", "cluster aligned"),
    field<56, &HeaderV2::refcount_table_clusters>("refcount_table_clusters",
                                                  "length of the refcount table in clusters"),
    field<60, &HeaderV2::nb_snapshots>("nb_snapshots", "entries of the snapshot table"),
    field<64, &HeaderV2::snapshots_offset>("snapshots_offset", "cluster aligned"));
static_assert(disk_size<HeaderV2> == 72);

// Bytes 72 to 103, from version 3 on.
struct HeaderV3 {
  std::uint64_t incompatible_features = 0;
  std::uint64_t compatible_features = 0;
  std::uint64_t autoclear_features = 0;
  std::uint32_t refcount_order = 4;
  std::uint32_t header_length = 104;
};
template <>
inline constexpr auto layout<HeaderV3> = record(
    "header_v3", "Header, version 3",
    field<0, &HeaderV3::incompatible_features>("incompatible_features", "an unknown bit forbids opening"),
    field<8, &HeaderV3::compatible_features>("compatible_features", "unknown bits are harmless"),
    field<16, &HeaderV3::autoclear_features>("autoclear_features", "unknown bits are cleared by a writer"),
    field<24, &HeaderV3::refcount_order>("refcount_order",
                                         "refcount width is 1 << refcount_order bits; 0 to 6"),
    field<28, &HeaderV3::header_length>("header_length", "bytes, at least 104, a multiple of 8"));
static_assert(disk_size<HeaderV3> == 32);

// Bytes 104 to 111, present when header_length reaches over them.
struct HeaderAdditional {
  std::uint8_t compression_type = 0;
  std::array<std::byte, 7> padding{};
};
template <>
inline constexpr auto layout<HeaderAdditional> =
    record("header_additional", "Additional fields (version 3 and higher)",
           field<0, &HeaderAdditional::compression_type>("compression_type", "0 deflate, 1 zstd"),
           field<1, &HeaderAdditional::padding>("padding", "zero"));
static_assert(disk_size<HeaderAdditional> == 8);

inline constexpr std::uint32_t header_v3_length = 104;
inline constexpr std::uint32_t header_known_length = 112;  // with every additional field known here

inline constexpr auto incompatible_word =
    word("incompatible_features", "Header, version 3", bits<0>("dirty"), bits<1>("corrupt"),
         bits<2>("external_data_file"), bits<3>("compression_type"), bits<4>("extended_l2"),
         reserved<5, 63>("unknown"));
inline constexpr auto compatible_word =
    word("compatible_features", "Header, version 3", bits<0>("lazy_refcounts"), reserved<1, 63>("unknown"));
inline constexpr auto autoclear_word = word("autoclear_features", "Header, version 3", bits<0>("bitmaps"),
                                            bits<1>("raw_external_data"), reserved<2, 63>("unknown"));

enum class CryptMethod : std::uint8_t { none = 0, aes = 1, luks = 2 };
enum class Compression : std::uint8_t { deflate = 0, zstd = 1 };

// Whatever the first bytes of a file say, without judgement.
struct Header {
  HeaderV2 v2;
  HeaderV3 v3;                  // meaningful from version 3 on; zero features and order 4 otherwise
  HeaderAdditional additional;  // zero where absent

  [[nodiscard]] bool has_v3() const { return v2.version >= 3; }
  [[nodiscard]] bool feature(BitInfo incompatible) const {
    return incompatible.get(v3.incompatible_features) != 0;
  }
  [[nodiscard]] bool dirty() const { return feature(incompatible_word["dirty"]); }
  [[nodiscard]] bool corrupt() const { return feature(incompatible_word["corrupt"]); }
  [[nodiscard]] bool external_data_file() const { return feature(incompatible_word["external_data_file"]); }
  [[nodiscard]] bool extended_l2() const { return feature(incompatible_word["extended_l2"]); }
  [[nodiscard]] bool lazy_refcounts() const {
    return compatible_word["lazy_refcounts"].get(v3.compatible_features) != 0;
  }
  [[nodiscard]] bool bitmaps_consistent() const {
    return autoclear_word["bitmaps"].get(v3.autoclear_features) != 0;
  }
  [[nodiscard]] bool raw_external_data() const {
    return autoclear_word["raw_external_data"].get(v3.autoclear_features) != 0;
  }
  // Where the header ends and the extensions begin.
  [[nodiscard]] std::uint32_t length() const { return has_v3() ? v3.header_length : disk_size<HeaderV2>; }
  // The codec of compressed clusters; types unknown to us read as nothing.
  [[nodiscard]] std::optional<Compression> compression() const {
    if (additional.compression_type > 1) return std::nullopt;
    return static_cast<Compression>(additional.compression_type);
  }
};

// Reads a header from the first bytes of a file: at least 72, for version 3 at least 104, else nothing. Bytes of the
// additional fields count when header_length says that they exist and `bytes` has them.
[[nodiscard]] std::optional<Header> decode_header(base::ConstBytes bytes);

}  // namespace cowvet::format
