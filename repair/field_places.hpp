// Where fields lie in the file or in their record, bytes: by the field tables, so that no offset is written twice.
#pragma once
#include <cstdint>
#include <type_traits>

#include "analyzer/field_finding.hpp"
#include "format/header.hpp"
#include "format/snapshot.hpp"

namespace cowvet::repair {

// Of the header: in the file. Of other records: from the record's beginning.
template <auto Ptr>
[[nodiscard]] consteval std::uint64_t place_of_field() {
  using Record = decltype(analyzer::detail::record_of(Ptr));
  const std::uint64_t at = analyzer::field_info<Ptr>().offset;
  if (std::is_same_v<Record, format::HeaderV3>) return at + format::disk_size<format::HeaderV2>;
  if (std::is_same_v<Record, format::HeaderAdditional>) return at + format::header_v3_length;
  return at;
}

inline constexpr std::uint64_t incompatible_at = place_of_field<&format::HeaderV3::incompatible_features>();
inline constexpr std::uint64_t autoclear_at = place_of_field<&format::HeaderV3::autoclear_features>();

}  // namespace cowvet::repair
