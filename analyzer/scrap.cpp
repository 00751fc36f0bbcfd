#include "analyzer/scrap.hpp"

#include "analyzer/cluster_kinds.hpp"
#include "format/scrap.hpp"

namespace cowvet::analyzer {

namespace {

constexpr std::uint64_t most_bytes = 64ULL << 20;  // of a noted table: no L1 table is larger

void put_in_order(std::vector<std::uint64_t>& clusters) {
  std::ranges::sort(clusters);
  clusters.erase(std::unique(clusters.begin(), clusters.end()), clusters.end());
}

}  // namespace

base::Result<Scrap> read_scrap(Image& image, MappingWalk& walk, const MetadataMap& metadata) {
  Scrap scrap;
  const auto* extension = image.extensions.find(format::ExtensionType::scrap);
  if (extension == nullptr || image.inferred) return scrap;
  const auto& g = *image.geometry;
  const auto read = [&](base::HostOffset at, base::MutableBytes into) {
    const auto request = image.device.read(at.raw(), into);
    return request.os_error == 0 && request.valid == into.size();
  };
  for (const auto& record :
       format::parse_scrap(extension->data).value_or(std::vector<format::ScrapRecord>{})) {
    if (record.length == 0 || record.length % 8 != 0 || record.length > most_bytes ||
        !g.aligned(record.offset) || !image.inside(record.offset, record.length))
      continue;
    std::vector<std::uint64_t> clusters;
    for (std::uint64_t i = 0; i < g.clusters(record.length); ++i)
      clusters.push_back(g.cluster_of(record.offset).raw() + i);
    ClusterKinds kinds(walk, metadata, clusters);
    if (auto done = kinds.collect(); !done) return std::unexpected(done.error());
    if (std::ranges::any_of(clusters, [&](auto c) { return kinds.of(c) != Kind::free; })) continue;
    std::vector<std::byte> table(record.length);
    if (!read(record.offset, table)) continue;
    if (format::scrap_checksum(table, g, read) != record.checksum) continue;
    scrap.tables.insert(scrap.tables.end(), clusters.begin(), clusters.end());
    const base::BigEndianTable<std::uint64_t> words(table);
    for (std::size_t i = 0; i < words.size(); ++i)
      if (const auto child = format::scrap_child(words[i], g))
        scrap.named.push_back(g.cluster_of(*child).raw());
  }
  put_in_order(scrap.tables);
  put_in_order(scrap.named);
  return scrap;
}

}  // namespace cowvet::analyzer
