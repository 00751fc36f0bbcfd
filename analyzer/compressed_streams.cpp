#include "analyzer/compressed_streams.hpp"

#include <algorithm>
#include <optional>

#include <fmt/format.h>

#include "analyzer/naming.hpp"

namespace cowvet::analyzer {

using namespace findings::literals;
using base::HostOffset;
using findings::Finding;

namespace {

constexpr std::size_t most_streams = 1U << 20;  // 24 MiB

auto by_place(const Stream& s) { return std::tuple(s.host, s.sectors, s.guest, s.tree); }

}  // namespace

void StreamCollector::owned(const Group& group, std::span<const Owned> items, unsigned) {
  std::vector<Stream> found;
  for (const auto& item : items)
    if (item.run.type == EntryType::compressed && item.run.host >= begin_ &&
        (item.run.problems & problem::past_eof) == 0)
      found.push_back({.host = item.run.host,
                       .guest = group.l1_index * geometry_.span() +
                                (std::uint64_t{item.run.first} << geometry_.cluster_bits()),
                       .sectors = item.run.sectors,
                       .tree = group.uses[item.use].trees.front()});
  if (found.empty()) return;
  const std::lock_guard guard(mutex_);
  for (const auto& stream : found)
    if (stream.host < end_) streams_.push_back(stream);
  if (streams_.size() <= most_) return;
  // Keep the lower half; all streams at the new end go, so that the window has a clean border.
  auto middle = streams_.begin() + static_cast<std::ptrdiff_t>(streams_.size() / 2);
  std::ranges::nth_element(streams_, middle, {}, by_place);
  if (middle->host == begin_) {
    // Half of them begin at the same byte: all but the lowest are only counted.
    const auto crowd =
        std::partition(middle, streams_.end(), [&](const Stream& s) { return s.host != begin_; });
    crowded_ += static_cast<std::uint64_t>(streams_.end() - crowd);
    streams_.erase(crowd, streams_.end());
    return;
  }
  end_ = middle->host;
  std::erase_if(streams_, [&](const Stream& s) { return s.host >= end_; });
}

std::vector<Stream> StreamCollector::take() {
  // What was written from the first byte to the last is in order already.
  if (!std::ranges::is_sorted(streams_, {}, by_place)) std::ranges::sort(streams_, {}, by_place);
  return std::move(streams_);
}

base::Result<void> check_compressed_streams(Image& image, MappingWalk& walk) {
  const auto& g = *image.geometry;
  const Naming naming(image, walk.trees());
  const auto where = [&](const Stream& s) {
    return fmt::format("{}.l2[{}]", naming.l1_entry(walk.trees()[s.tree], s.guest / g.span()),
                       s.guest % g.span() >> g.cluster_bits());
  };
  const bool sparse = image.device.allocated() < image.eof;
  const auto report = [&](findings::RuleId rule, const Stream& stream, std::uint64_t end, const Stream* other,
                          bool milder) {
    Finding f{rule};
    if (milder) f.severity = rule->lesser;
    f.where = where(stream);
    f.host = {HostOffset{stream.host}, end - stream.host};
    naming.put_guest(f, walk.trees()[stream.tree], base::GuestOffset{stream.guest}, g.cluster_size());
    if (other != nullptr) {
      const auto& tree = walk.trees()[other->tree];
      f.owners.push_back(
          {std::string(to_string(Kind::compressed)), where(*other),
           findings::GuestRange{base::GuestOffset{other->guest}, g.cluster_size(), naming.layer(tree)}});
      naming.put_guest(f, tree, base::GuestOffset{other->guest}, g.cluster_size());
    }
    image.report(std::move(f));
  };

  std::optional<Stream> previous;
  std::optional<Stream> furthest;  // of all streams so far, the one that reaches furthest
  for (std::uint64_t begin = 0; begin != ~std::uint64_t{0};) {
    StreamCollector collector(begin, most_streams, g);
    if (auto walked = walk.run(collector); !walked) return walked;
    begin = collector.end();
    for (std::uint64_t i = 0; i < collector.crowded(); ++i)
      image.findings.tally("compressed/streams-overlap"_rule, findings::Severity::error);
    for (const auto& stream : collector.take()) {
      // The last sector of one may be the first of the next.
      const std::uint64_t sector = stream.host & ~std::uint64_t{format::limits::sector - 1};
      if (previous && previous->host == stream.host)
        report("compressed/streams-overlap"_rule, stream, std::min(previous->end(), stream.end()), &*previous,
               false);
      else if (furthest && furthest->end() > sector + format::limits::sector)
        report("compressed/streams-overlap"_rule, stream, std::min(furthest->end(), stream.end()), &*furthest,
               true);
      previous = stream;
      if (!furthest || stream.end() > furthest->end()) furthest = stream;
      if (!sparse) continue;
      const auto extent = image.device.extent(stream.host);
      const std::uint64_t end = std::min(stream.end(), image.eof);
      if (extent.hole && extent.end >= end)
        report("compressed/payload-hole"_rule, stream, end, nullptr, false);
    }
  }
  return {};
}

}  // namespace cowvet::analyzer
