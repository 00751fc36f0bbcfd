#include "analyzer/holdings.hpp"

#include <algorithm>

#include "analyzer/claims.hpp"

namespace cowvet::analyzer {

namespace {

constexpr std::size_t most_references = 1U << 22;  // of the tables that are looked at together

// Of one table, ascending; a cluster that it names twice is there twice.
struct TableReferences {
  std::vector<std::uint64_t> clusters;
  std::uint64_t entries = 0;
};

TableReferences read_table(Image& image, const ScanRules& rules, std::uint64_t cluster) {
  TableReferences found;
  const auto& g = rules.geometry;
  std::vector<std::byte> bytes(static_cast<std::size_t>(g.cluster_size()));
  const auto read = image.device.read(cluster << g.cluster_bits(), bytes);
  if (read.os_error != 0) return found;
  std::vector<EntryRun> runs;
  scan_l2(base::ConstBytes(bytes).first(static_cast<std::size_t>(read.valid)), rules, 0, runs);
  for (const auto& run : runs) {
    found.entries += run.count;
    if (!run.owns()) continue;
    const auto span = host_clusters(run, g);
    for (std::uint64_t c = span.first; c < span.first + span.count; ++c) found.clusters.push_back(c);
  }
  return found;
}

}  // namespace

base::Result<std::vector<Holding>> holdings_of(Image& image, MappingWalk& walk, const MetadataMap& metadata,
                                               const Refcounts& refcounts,
                                               std::span<const std::uint64_t> tables) {
  std::vector<Holding> list(tables.size());
  Refcounts::Piece piece;
  for (std::size_t begin = 0; begin < tables.size();) {
    std::vector<TableReferences> read;
    std::vector<std::uint64_t> all;
    std::size_t end = begin;
    for (; end < tables.size() && (end == begin || all.size() < most_references); ++end) {
      read.push_back(read_table(image, walk.rules(), tables[end]));
      all.insert(all.end(), read.back().clusters.begin(), read.back().clusters.end());
    }
    std::ranges::sort(all);
    all.erase(std::unique(all.begin(), all.end()), all.end());
    for (std::size_t first = 0; first < all.size(); first += Claims::most_clusters) {
      const auto part = std::span(all).subspan(first, std::min(Claims::most_clusters, all.size() - first));
      Claims claims(image, walk, metadata, {part.begin(), part.end()});
      if (auto done = claims.collect(); !done) return std::unexpected(done.error());
      for (std::size_t i = 0; i < read.size(); ++i)
        for (const auto cluster : read[i].clusters) {
          if (!std::ranges::binary_search(part, cluster)) continue;
          const std::uint64_t owners = claims.total(cluster);
          const std::uint64_t stored = refcounts.stored(cluster, piece).value_or(0);
          auto& holding = list[begin + i];
          holding.owned += owners != 0 ? 1U : 0U;
          holding.exact += owners != 0 && stored <= owners ? 1U : 0U;
          holding.lost += owners == 0 && stored != 0 ? 1U : 0U;
        }
    }
    for (std::size_t i = 0; i < read.size(); ++i) list[begin + i].entries = read[i].entries;
    begin = end;
  }
  return list;
}

std::optional<std::vector<std::byte>> unflagged_table(const Image& image, std::uint64_t cluster) {
  const auto& g = *image.geometry;
  std::vector<std::byte> bytes(static_cast<std::size_t>(g.cluster_size()));
  const auto read = image.device.read(cluster << g.cluster_bits(), bytes);
  if (read.os_error != 0 || read.valid != bytes.size()) return std::nullopt;
  for (std::size_t i = 0; i < bytes.size(); i += static_cast<std::size_t>(g.l2_entry_size()))
    bytes[i] &= std::byte{0x7f};
  return bytes;
}

}  // namespace cowvet::analyzer
