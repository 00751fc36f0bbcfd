#include "format/scrap.hpp"

#include <algorithm>

#include <zlib.h>

#include "format/entries.hpp"

namespace cowvet::format {

namespace {

// COPIED, in tables that have it, is no part of what a table says: it changes while counts do.
void take_flags(base::MutableBytes words) {
  for (std::size_t i = 0; i < words.size(); i += 8) words[i] &= std::byte{0x7f};
}

std::uint32_t checksum(std::uint32_t before, base::ConstBytes bytes) {
  return static_cast<std::uint32_t>(
      ::crc32_z(before, reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size()));
}

}  // namespace

std::optional<std::vector<ScrapRecord>> parse_scrap(base::ConstBytes data) {
  constexpr std::size_t length = disk_size<ScrapRecord>;
  if (data.empty() || data.size() % length != 0 || data.size() / length > most_scrap_records)
    return std::nullopt;
  std::vector<ScrapRecord> records;
  for (std::size_t at = 0; at < data.size(); at += length)
    records.push_back(decode<ScrapRecord>(*base::prefix<length>(data.subspan(at))));
  return records;
}

std::vector<std::byte> encode_scrap(const std::vector<ScrapRecord>& records) {
  std::vector<std::byte> bytes;
  for (const auto& r : records) {
    const auto one = encode(r);
    bytes.insert(bytes.end(), one.begin(), one.end());
  }
  return bytes;
}

std::optional<base::HostOffset> scrap_child(std::uint64_t word, const Geometry& geometry) {
  const base::HostOffset offset = L1Entry{word}.offset();
  if (offset.raw() == 0 || !geometry.aligned(offset)) return std::nullopt;
  return offset;
}

std::optional<std::uint32_t> scrap_checksum(base::ConstBytes table, const Geometry& geometry,
                                            const ReadCluster& child) {
  std::vector<std::byte> bytes(table.begin(), table.end());
  take_flags(bytes);
  std::uint32_t sum = checksum(0, bytes);
  const base::BigEndianTable<std::uint64_t> words(table);
  std::vector<std::byte> cluster(static_cast<std::size_t>(geometry.cluster_size()));
  for (std::size_t i = 0; i < words.size(); ++i) {
    const auto offset = scrap_child(words[i], geometry);
    if (!offset) continue;
    if (!child(*offset, cluster)) return std::nullopt;
    take_flags(cluster);
    sum = checksum(sum, cluster);
  }
  return sum;
}

}  // namespace cowvet::format
