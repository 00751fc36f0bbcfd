#include "repair/content_codec.hpp"

#include <array>
#include <vector>

#include "repair/tables.hpp"

namespace cowvet::repair {

// What the first compressed clusters are: zstd frames begin with a number of their own, deflate streams don't.
std::optional<format::Compression> codec_of_content(const Draft& draft) {
  constexpr std::uint32_t zstd_magic = 0x28b52ffd;
  constexpr unsigned enough = 16, most_tables = 4096;
  const auto& g = draft.geometry();
  unsigned seen = 0, zstd = 0, tables = 0;
  const auto look = [&](std::uint64_t, format::L1Entry l1) {
    const std::uint64_t l2 = l1.offset().raw();
    if (seen >= enough || tables >= most_tables || l2 % g.cluster_size() != 0 || l2 >= draft.image().size())
      return;
    ++tables;
    const auto bytes = draft.bytes(l2, g.cluster_size());
    for (std::size_t at = 0; at + 8 <= bytes.size() && seen < enough;
         at += static_cast<std::size_t>(g.l2_entry_size())) {
      const auto word = base::load_be<std::uint64_t, 0>(std::span(bytes).subspan(at).first<8>());
      if ((word & format::compressed_flag) == 0) continue;
      const std::uint64_t stream = word & ((1ULL << (70 - g.cluster_bits())) - 1);
      if (stream + 4 > draft.image().size()) continue;
      ++seen;
      zstd += static_cast<std::uint32_t>(draft.word(stream) >> 32) == zstd_magic ? 1U : 0U;
    }
  };
  for (const auto& l1 : l1_tables(draft))
    if (l1.prefix.empty()) for_each_entry(draft, l1, look);
  if (seen == 0) return std::nullopt;
  return zstd * 2 > seen ? format::Compression::zstd : format::Compression::deflate;
}

}  // namespace cowvet::repair
