#include "analyzer/tail.hpp"

#include <algorithm>

#include <fmt/format.h>

namespace cowvet::analyzer {

using namespace findings::literals;
using base::HostOffset;
using findings::Finding;
using findings::Value;

namespace {

// How much of a tail is read for a look at its content when not everything is to be read.
constexpr std::uint64_t tail_sample = 1ULL << 20;

// The first byte in [begin, end) that is not zero, reading at most `limit` bytes outside holes.
std::optional<std::uint64_t> first_nonzero(const Image& image, std::uint64_t begin, std::uint64_t end,
                                           std::uint64_t limit) {
  std::vector<std::byte> bytes(1U << 16);
  for (std::uint64_t at = begin; at < end && limit != 0 && !image.progress.stop_requested();) {
    const auto extent = image.device.extent(at);
    if (extent.hole) {
      at = extent.end;
      continue;
    }
    const std::uint64_t length = std::min({end - at, limit, std::uint64_t{bytes.size()}});
    const auto read = image.device.read(at, std::span(bytes).first(static_cast<std::size_t>(length)));
    const auto it = std::ranges::find_if(read.into, [](std::byte b) { return b != std::byte{0}; });
    if (it != read.into.end()) return at + static_cast<std::uint64_t>(it - read.into.begin());
    at += length;
    limit -= length;
  }
  return std::nullopt;
}

void check_truncated(Image& image, const MetadataMap& metadata, Reach reach, std::uint64_t beyond_eof) {
  const auto& g = *image.geometry;
  const auto end_of_last = base::round_up(image.eof, g.cluster_size());
  if (!end_of_last) return;
  std::uint64_t cut = reach.beyond;
  std::uint64_t needed = reach.end;
  for (const auto& region : metadata.regions()) {
    const std::uint64_t end = base::saturating_add(region.begin.raw(), region.length);
    if (end <= *end_of_last || far_past_eof(region.begin.raw(), image.eof)) continue;
    ++cut;
    needed = std::max(needed, end);
  }
  if (needed <= *end_of_last || !file_was_cut({needed, cut}, beyond_eof)) return;
  Finding f{"file/truncated"_rule};
  f.where = "file";
  f.host = {HostOffset{image.eof}, needed - image.eof};
  f.expected = Value::dec(needed);
  f.actual = Value::dec(image.eof);
  f.detail = fmt::format(
      "{} structures or clusters are named past the end, {} clusters there have a refcount", cut, beyond_eof);
  image.report(std::move(f));
}

}  // namespace

void check_tail(Image& image, const MetadataMap& metadata, Reach reach, std::uint64_t used,
                std::uint64_t beyond_eof) {
  const auto& g = *image.geometry;
  check_truncated(image, metadata, reach, beyond_eof);

  const std::uint64_t clusters = base::divide_up(image.eof, g.cluster_size());
  if (clusters > 0x7fffffff)
    image.report(Finding{"refcount/huge-file"_rule}.at("file").found(Value::dec(clusters)));

  if (image.device.is_block_device() || used >= clusters) return;
  const std::uint64_t end = used << g.cluster_bits();
  image.report(Finding{"file/tail-unreferenced"_rule}
                   .at("file")
                   .on(HostOffset{end}, image.eof - end)
                   .clusters(clusters - used));
  const std::uint64_t limit = image.options.deep ? image.eof : tail_sample;
  if (const auto at = first_nonzero(image, end, image.eof, limit))
    image.report(Finding{"file/tail-data"_rule}.at("file").on(HostOffset{*at}, image.eof - *at));
}

}  // namespace cowvet::analyzer
