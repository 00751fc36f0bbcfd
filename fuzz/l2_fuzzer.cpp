// The scan of an L2 table, standard and extended, on any bytes. Promises: runs ascend, don't overlap and lie inside the
// table; no entry that names host space is left out. The input: cluster_bits, flags, the file's length, then the table.
#include <algorithm>
#include <vector>

#include "analyzer/l2_scan.hpp"
#include "format/entries.hpp"
#include "fuzz/require.hpp"

namespace cowvet::fuzz {
namespace {

constexpr std::size_t head = 10;

void scan(base::ConstBytes input) {
  const auto front = base::prefix<head>(input);
  if (!front) return;
  const auto bits = 9 + base::load_be<std::uint8_t, 0>(*front) % 13U;
  const auto flags = base::load_be<std::uint8_t, 1>(*front);
  const auto geometry = format::Geometry::make(bits, 4, (flags & 1) != 0 && bits >= 14);
  require(geometry.has_value(), "cluster sizes of the format have a geometry");
  const analyzer::ScanRules rules{.geometry = *geometry,
                                  .eof = base::load_be<std::uint64_t, 2>(*front),
                                  .version2 = (flags & 2) != 0,
                                  .external_data = (flags & 4) != 0};
  const auto rest = input.subspan(head);
  const auto table = rest.first(std::min<std::size_t>(rest.size(), geometry->cluster_size()));

  std::vector<analyzer::EntryRun> runs;
  analyzer::scan_l2(table, rules, 0, runs);
  const std::size_t entries = table.size() / geometry->l2_entry_size();
  std::vector<bool> told(entries);
  std::uint64_t reached = 0;
  for (const auto& run : runs) {
    require(run.count != 0, "no run is empty");
    require(run.first >= reached, "runs ascend and are disjoint");
    reached = std::uint64_t{run.first} + run.count;
    require(reached <= entries, "runs lie inside the table");
    std::fill_n(told.begin() + run.first, run.count, true);
  }
  const base::BigEndianTable<std::uint64_t> words(table);
  for (std::size_t i = 0; i < entries; ++i) {
    const format::L2Entry entry{words[i * (geometry->l2_entry_size() / 8)]};
    require(told[i] || (!entry.compressed() && entry.offset().raw() == 0),
            "an entry with host space is in a run");
  }
}

}  // namespace
}  // namespace cowvet::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  cowvet::fuzz::scan({reinterpret_cast<const std::byte*>(data), size});
  return 0;
}
