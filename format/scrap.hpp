// The scrap extension: tables that an operation under way makes or gives up, so that whoever finds their clusters
// without an owner after a crash knows that nothing was lost. An extension of our own: other programs keep it
// or drop it, and either does no harm. Promises: a record speaks of a table's content and of all that the
// table names, so that one which has outlived its operation explains nothing that lies there by then.
#pragma once
#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "format/extensions.hpp"
#include "format/geometry.hpp"

namespace cowvet::format {

struct ScrapRecord {
  base::HostOffset offset;
  std::uint32_t length = 0;
  std::uint32_t checksum = 0;
};
template <>
inline constexpr auto layout<ScrapRecord> =
    record("scrap", "Scrap extension (cowvet)",
           field<0, &ScrapRecord::offset>("offset", "of a table of cluster offsets, cluster aligned"),
           field<8, &ScrapRecord::length>("length", "bytes of the table, a multiple of 8"),
           field<12, &ScrapRecord::checksum>(
               "checksum", "CRC-32 of the table and, one by one, of the clusters it names, without bits 63"));
static_assert(disk_size<ScrapRecord> == 16);

inline constexpr std::size_t most_scrap_records = 4;

// Nothing when the data are no whole records, or too many.
[[nodiscard]] std::optional<std::vector<ScrapRecord>> parse_scrap(base::ConstBytes data);
[[nodiscard]] std::vector<std::byte> encode_scrap(const std::vector<ScrapRecord>& records);

// The cluster that a word of a table names, as its host offset; nothing where it names none.
[[nodiscard]] std::optional<base::HostOffset> scrap_child(std::uint64_t word, const Geometry& geometry);

// What a record says of a table with this content. `child` reads a cluster, and says whether it could. Nothing
// when something could not be read.
using ReadCluster = std::function<bool(base::HostOffset, base::MutableBytes)>;
[[nodiscard]] std::optional<std::uint32_t> scrap_checksum(base::ConstBytes table, const Geometry& geometry,
                                                          const ReadCluster& child);

}  // namespace cowvet::format
