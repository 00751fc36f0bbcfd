// The parts of the check of the first cluster, in the order in which check_header runs them, and what they share.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <type_traits>

#include "analyzer/field_finding.hpp"
#include "analyzer/image.hpp"

namespace cowvet::analyzer {

void read_extensions(Image& image);  // fills image.extensions, judges nothing
void check_features(Image& image);   // feature/*, as far as header and extensions decide it
void check_table_places(
    Image& image);  // where the header says that L1 and refcount table are; adds their regions

// A finding about a field of the header, whichever of its records holds it, with the field's value as found.
template <auto Ptr>
[[nodiscard]] findings::Finding header_finding(const Image& image, findings::RuleId rule) {
  using R = decltype(detail::record_of(Ptr));
  if constexpr (std::is_same_v<R, format::HeaderV2>) {
    return field_finding<Ptr>(rule, image.header.v2, base::HostOffset{0}, "header");
  } else if constexpr (std::is_same_v<R, format::HeaderV3>) {
    return field_finding<Ptr>(rule, image.header.v3, base::HostOffset{format::disk_size<format::HeaderV2>},
                              "header");
  } else {
    return field_finding<Ptr>(rule, image.header.additional, base::HostOffset{format::header_v3_length},
                              "header");
  }
}

// Whether the header's length can be believed, so that the extensions behind it can be found.
[[nodiscard]] bool header_length_usable(const Image& image);

// Whether an extension that is not in the list may be in the file all the same: the list could not be read to its end.
[[nodiscard]] inline bool extensions_cut(const Image& image) {
  return !header_length_usable(image) || image.extensions.how == format::ExtensionArea::End::overrun;
}

// Whether a header that says version 2 is followed by the fields of version 3: bytes 72 on read as an extension list
// that ends at once, and yet a possible refcount width and header length stand where version 3 keeps them.
[[nodiscard]] bool version_misflagged(const Image& image);

// Bytes of the first cluster.
struct NamePlace {
  std::uint64_t begin = 0, length = 0;
};
// Where the backing file name lies, if there is one and it lies where a name may: behind the extensions, inside the
// first cluster, 1 to 1023 bytes long.
[[nodiscard]] std::optional<NamePlace> backing_name_place(const Image& image);

// The name that the image's own feature name table gives a bit, escaped and in quotes, or "" when it gives none.
[[nodiscard]] std::string feature_name(const Image& image, std::uint8_t word, std::uint32_t bit);

// All of the guest's disk.
[[nodiscard]] inline findings::GuestRange whole_disk(const Image& image) {
  return {base::GuestOffset{0}, image.header.v2.size, {}};
}

}  // namespace cowvet::analyzer
