#include "analyzer/raw_data_file.hpp"

#include <algorithm>

namespace cowvet::analyzer {

using namespace findings::literals;
using findings::Finding;

namespace {

struct Range {
  std::uint64_t begin, end;  // guest bytes
};

// The guest ranges of the active layer that are data, and those that read as zeros by their entries.
class HeldRanges final : public Visitor {
 public:
  explicit HeldRanges(const format::Geometry& geometry) : g_(geometry) {}
  void table(const Group& group, const TableUse& use, const Table& table, unsigned) override {
    if (!use.active) return;
    for (const auto& run : table.runs) {
      const std::uint64_t begin =
          group.l1_index * g_.span() + (std::uint64_t{run.first} << g_.cluster_bits());
      if (run.type == EntryType::none) continue;
      auto& list = run.type == EntryType::data ? data : zeros;
      const std::uint64_t end = begin + (std::uint64_t{run.count} << g_.cluster_bits());
      if (!list.empty() && list.back().end == begin)
        list.back().end = end;
      else
        list.push_back({begin, end});
    }
  }
  std::vector<Range> data, zeros;

 private:
  const format::Geometry g_;
};

// The first byte of [begin, end) of the data file that is not zero.
std::optional<std::uint64_t> first_nonzero(const Image& image, const storage::Device& file,
                                           std::uint64_t begin, std::uint64_t end) {
  std::vector<std::byte> bytes(1U << 18);
  for (std::uint64_t at = begin; at < std::min(end, file.size()) && !image.progress.stop_requested();) {
    const auto extent = file.extent(at);
    const std::uint64_t until = std::min({extent.end, end, file.size()});
    if (!extent.hole) {
      const std::uint64_t length = std::min<std::uint64_t>(until - at, bytes.size());
      const auto read = file.read(at, std::span(bytes).first(static_cast<std::size_t>(length)));
      const auto it = std::ranges::find_if(read.into, [](std::byte b) { return b != std::byte{0}; });
      if (it != read.into.end()) return at + static_cast<std::uint64_t>(it - read.into.begin());
      at += length;
    } else {
      at = until;
    }
  }
  return std::nullopt;
}

}  // namespace

base::Result<void> check_raw_data_file(Image& image, MappingWalk& walk, const storage::Device& data_file) {
  HeldRanges ranges(*image.geometry);
  if (auto walked = walk.run_in_order(ranges); !walked) return walked;
  const auto look = [&](findings::RuleId rule, std::uint64_t begin, std::uint64_t end) {
    end = std::min(end, image.header.v2.size);
    if (begin >= end) return;
    if (const auto at = first_nonzero(image, data_file, begin, end))
      image.report(Finding{rule}
                       .at("data file")
                       .hits({base::GuestOffset{*at}, end - *at, ""})
                       .found(findings::Value::hex(*at))
                       .saying("the first byte of the data file in this range that is not zero"));
  };
  for (const auto& range : ranges.zeros) look("datafile/raw-zero"_rule, range.begin, range.end);

  // What neither list has is unallocated.
  std::vector<Range> known = ranges.data;
  known.insert(known.end(), ranges.zeros.begin(), ranges.zeros.end());
  std::ranges::sort(known, {}, &Range::begin);
  std::uint64_t at = 0;
  for (const auto& range : known) {
    look("datafile/raw-unallocated"_rule, at, range.begin);
    at = range.end;
  }
  look("datafile/raw-unallocated"_rule, at, image.header.v2.size);
  return {};
}

}  // namespace cowvet::analyzer
