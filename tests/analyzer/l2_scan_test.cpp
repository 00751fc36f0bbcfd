// A table that is scanned in parts gives the runs that it gives in one go.
#include "analyzer/l2_scan.hpp"

#include <tuple>

#include <gtest/gtest.h>

#include "base/bytes.hpp"

namespace cowvet::analyzer {
namespace {

std::vector<std::byte> big_endian(const std::vector<std::uint64_t>& words) {
  std::vector<std::byte> bytes(words.size() * 8);
  for (std::size_t i = 0; i < words.size(); ++i)
    base::store_be<std::uint64_t, 0>(std::span(bytes).subspan(i * 8).first<8>(), words[i]);
  return bytes;
}

auto said(const EntryRun& run) {
  return std::tuple(run.first, run.count, run.host, run.problems, run.sectors, run.type, run.copied);
}

TEST(L2Scan, parts_are_the_whole) {
  const auto geometry = format::Geometry::make(16, 4, false);
  ASSERT_TRUE(geometry);
  const ScanRules rules{.geometry = *geometry, .eof = 1ULL << 40};
  std::vector<std::uint64_t> words(8192);
  for (std::uint64_t i = 0; i < words.size(); ++i)
    words[i] = i % 7 == 0   ? 0
               : i % 5 == 0 ? 1ULL << 62 | i << 50 | (i + 9) * 1000
                            : 1ULL << 63 | (i / 11 + i) << 16;
  const auto bytes = big_endian(words);
  std::vector<EntryRun> whole;
  EXPECT_EQ(scan_l2(bytes, rules, 0, whole), words.size());
  for (const std::size_t most : {1U, 2U, 100U}) {
    std::vector<EntryRun> parts;
    std::uint32_t at = 0;
    while (at < words.size()) {
      std::vector<EntryRun> part;
      at = scan_l2(bytes, rules, 0, part, at, most);
      EXPECT_LE(part.size(), most);
      parts.insert(parts.end(), part.begin(), part.end());
    }
    ASSERT_EQ(parts.size(), whole.size());
    for (std::size_t i = 0; i < whole.size(); ++i) EXPECT_EQ(said(parts[i]), said(whole[i])) << i;
  }
}

}  // namespace
}  // namespace cowvet::analyzer
