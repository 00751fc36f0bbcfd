#include "analyzer/bitmap_table.hpp"

#include <algorithm>

#include <fmt/format.h>

#include "base/bytes.hpp"

namespace cowvet::analyzer {

using namespace findings::literals;
using findings::Finding;
using findings::Value;
using format::BitmapTableEntry;

namespace {

constexpr std::uint64_t chunk = 64ULL << 10;         // bytes of a table read at once
constexpr std::uint64_t spare_budget = 64ULL << 20;  // for tables that lie in holes
constexpr std::uint64_t most_regions = 1ULL << 16;   // of data: no writer scatters it that much

}  // namespace

BitmapTables::BitmapTables(Image& image)
    : image_(image),
      geometry_(*image.geometry),
      budget_(base::saturating_add(spare_budget, image.device.allocated())) {}

void BitmapTables::check(const BitmapState& state, std::uint64_t entries) {
  const auto table = state.data.entry.table_offset;
  const std::uint64_t length = entries * 8;
  if (length > budget_) {
    budget_ = 0;
    return image_.doubt("the bitmap tables are larger than the file, so not all of them were read");
  }
  budget_ -= length;
  const std::string where = state.where() + ".table";
  const std::uint64_t table_end = base::saturating_add(table.raw(), length);
  if (table_end <= format::limits::max_offset)
    image_.regions.push_back({.kind = Kind::bitmap_table,
                              .begin = table,
                              .length = length,
                              .index = static_cast<std::uint32_t>(state.index)});
  if (!image_.inside(table, length)) {
    image_.report(Finding{"bitmap/table-past-eof"_rule}
                      .at(where)
                      .on(table, length)
                      .wanted(Value::text(fmt::format("a file of at least {:#x} bytes", table_end)))
                      .found(Value::hex(image_.eof)));
    image_.doubt("a bitmap's table is cut off by the end of the file");
  }

  const std::uint64_t end = std::min(table_end, image_.eof);
  for (std::uint64_t at = table.raw(); at + 8 <= end && !image_.progress.stop_requested();) {
    const auto extent = image_.device.extent(at);
    if (extent.hole && extent.end - at >= 8) {  // entries of zeros: bits that are all clear
      at = extent.end & ~std::uint64_t{7};
      continue;
    }
    const auto bytes = image_.read(base::HostOffset{at}, std::min(chunk, end - at), chunk, where);
    const base::BigEndianTable<std::uint64_t> words(bytes);
    if (words.size() == 0) {
      image_.doubt("a bitmap's table can't be read");
      break;
    }
    const std::uint64_t first = (at - table.raw()) / 8;
    for (std::size_t i = 0; i < words.size(); ++i)
      if (words[i] != 0) judge(state, first + i, BitmapTableEntry{words[i]});
    at += words.size() * 8;
  }
  end_run(state);
}

void BitmapTables::judge(const BitmapState& state, std::uint64_t index, BitmapTableEntry entry) {
  const auto offset = entry.offset();
  const std::uint64_t size = geometry_.cluster_size();
  if (entry.reserved() != 0) report("bitmap/table-entry-reserved"_rule, state, index, entry, "");
  if (offset.raw() == 0) return;
  if (entry.all_ones()) report("bitmap/table-entry-ones"_rule, state, index, entry, "");
  if (!geometry_.aligned(offset)) return report("bitmap/table-entry-unaligned"_rule, state, index, entry, "");
  own(state, index, offset);
  if (!image_.inside(offset, size))
    return report("bitmap/data-past-eof"_rule, state, index, entry,
                  offset.raw() < image_.eof ? "The cluster begins inside the file." : "");
  if (image_.options.deep) judge_tail(state, index, entry);
}

// The bits behind the last one that the disk needs, in the last entry's cluster.
void BitmapTables::judge_tail(const BitmapState& state, std::uint64_t index, BitmapTableEntry entry) {
  const auto& e = state.data.entry;
  const std::uint64_t disk = image_.header.v2.size, bits_per_cluster = geometry_.cluster_size() * 8;
  if (e.granularity_bits > 63 || index + 1 != e.table_size ||
      e.table_size != format::bitmap_table_entries(disk, e.granularity_bits, geometry_.cluster_size()))
    return;
  const std::uint64_t bits = base::divide_up(disk, 1ULL << e.granularity_bits);
  const std::uint64_t used = bits - index * bits_per_cluster;  // of this cluster
  const std::string where = fmt::format("{}.table[{}]", state.where(), index);
  const auto bytes = image_.read(entry.offset(), geometry_.cluster_size(), geometry_.cluster_size(), where);
  if (bytes.size() < geometry_.cluster_size()) return;
  const auto at = static_cast<std::size_t>(used / 8);
  // Bits are counted from the least significant one of each byte.
  const bool partly = used % 8 != 0 && std::to_integer<std::uint32_t>(bytes[at]) >> (used % 8) != 0;
  const std::size_t whole = at + (used % 8 != 0 ? 1 : 0);
  if (!partly && base::all_zero(base::ConstBytes(bytes).subspan(whole))) return;
  image_.report(Finding{"bitmap/data-tail"_rule}
                    .at(where)
                    .on(base::HostOffset{entry.offset().raw() + at}, geometry_.cluster_size() - at)
                    .saying(fmt::format("The bitmap has {} bits.", bits)));
}

void BitmapTables::own(const BitmapState& state, std::uint64_t index, base::HostOffset cluster) {
  if (run_.clusters != 0 && cluster.raw() == run_.begin + run_.clusters * geometry_.cluster_size() &&
      index == run_.entry + run_.clusters) {
    ++run_.clusters;
    return;
  }
  end_run(state);
  run_ = {index, cluster.raw(), 1};
}

void BitmapTables::end_run(const BitmapState& state) {
  if (run_.clusters == 0) return;
  if (regions_ < most_regions) {
    image_.regions.push_back({.kind = Kind::bitmap_data,
                              .begin = base::HostOffset{run_.begin},
                              .length = run_.clusters * geometry_.cluster_size(),
                              .index = static_cast<std::uint32_t>(state.index),
                              .entry = static_cast<std::uint32_t>(run_.entry)});
    ++regions_;
  } else {
    image_.doubt("the bitmaps' data is too scattered to follow all of it");
  }
  run_ = {};
}

void BitmapTables::report(findings::RuleId rule, const BitmapState& state, std::uint64_t index,
                          BitmapTableEntry entry, const char* detail) {
  const base::HostOffset at{state.data.entry.table_offset.raw() + index * 8};
  image_.doubt("a bitmap's table is damaged");
  if (image_.findings.only_counts(rule, {at, {}}, rule->severity)) return;
  image_.report(Finding{rule}
                    .at(fmt::format("{}.table[{}]", state.where(), index))
                    .on(at, 8)
                    .found(Value::hex(entry.word))
                    .saying(detail));
}

}  // namespace cowvet::analyzer
