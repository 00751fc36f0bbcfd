#include "analyzer/leaks.hpp"

#include <algorithm>

#include <fmt/format.h>

#include "analyzer/stale_bitmaps.hpp"

namespace cowvet::analyzer {

using namespace findings::literals;
using base::HostOffset;
using findings::Finding;

LeakSurvey::LeakSurvey(Image& image, const ScanRules& rules)
    : image_(image), rules_(rules), head_(std::min(head_bytes, rules.geometry.cluster_size())) {}

void LeakSurvey::look_at(std::uint64_t first, std::uint64_t count) {
  const auto bits = rules_.geometry.cluster_bits();
  const std::uint64_t end = first + count;
  for (std::uint64_t c = first; c < end && !image_.progress.stop_requested(); ++c) {
    if (stale_bitmap_at(image_, HostOffset{c << bits}) != nullptr) continue;  // it is known what that is
    const auto extent = image_.device.extent(c << bits);
    if (extent.hole) {  // nothing to see up to where the hole ends
      if (const std::uint64_t behind = extent.end >> bits; behind > c) {
        c = std::min(end, behind) - 1;
        continue;
      }
    }
    queue_.push_back(c);
    if (queue_.size() == most_at_once) read_heads();
  }
}

void LeakSurvey::finish() { read_heads(); }

void LeakSurvey::read_heads() {
  const auto length = static_cast<std::size_t>(head_);
  heads_.resize(queue_.size() * length);
  std::vector<storage::ReadRequest> requests;
  requests.reserve(queue_.size());
  for (const auto cluster : queue_)
    requests.push_back({.offset = cluster << rules_.geometry.cluster_bits(),
                        .into = std::span(heads_).subspan(requests.size() * length, length)});
  image_.device.read(requests);
  for (std::size_t i = 0; i < queue_.size(); ++i) {
    const auto& read = requests[i];
    if (read.os_error != 0) continue;
    auto content =
        classify_head(base::ConstBytes(read.into).first(static_cast<std::size_t>(read.valid)), rules_);
    if (content == Content::empty && read.valid == head_) content = look_behind_head(queue_[i]);
    sort_in(queue_[i], content);
  }
  queue_.clear();
}

// The first bytes are zeros: the first ones behind them that are not, tell.
Content LeakSurvey::look_behind_head(std::uint64_t cluster) {
  const auto rest = static_cast<std::size_t>(rules_.geometry.cluster_size() - head_);
  if (rest == 0) return Content::empty;
  all_.resize(rest);
  const auto read = image_.device.read((cluster << rules_.geometry.cluster_bits()) + head_, all_);
  if (read.os_error != 0 || read.hole) return Content::empty;
  const auto valid = base::ConstBytes(all_).first(static_cast<std::size_t>(read.valid));
  for (std::size_t at = 0; at < valid.size(); at += static_cast<std::size_t>(head_)) {
    const auto piece = valid.subspan(at, std::min(valid.size() - at, static_cast<std::size_t>(head_)));
    if (const auto content = classify_head(piece, rules_); content != Content::empty)
      return content == Content::snapshot_table ? Content::other
                                                : content;  // that begins at a cluster's start
  }
  return Content::empty;
}

void LeakSurvey::sort_in(std::uint64_t cluster, Content content) {
  switch (content) {
    case Content::empty: return;
    case Content::other: ++data_; return;
    case Content::l2_table:
    case Content::snapshot_table: break;
  }
  auto& list = content == Content::l2_table ? tables_ : snapshot_tables_;
  if (list.size() == most_tables) return image_.doubt("there are more lost tables than are looked at");
  list.push_back(cluster);
}

void examine_free(Image& image, const MappingWalk& walk, const LabelMap& labels,
                  std::span<const Mismatch> leaks) {
  const auto& g = *image.geometry;
  std::vector<std::byte> bytes(static_cast<std::size_t>(g.cluster_size()));
  std::uint64_t first = 0;  // the run of clusters with content that is being gathered
  std::uint64_t count = 0;
  std::uint64_t tables = 0;
  const auto flush = [&] {
    if (count == 0) return;
    Finding f{"file/unreferenced-content"_rule};
    f.where = fmt::format("cluster[{}]", first);
    f.host = {HostOffset{first << g.cluster_bits()},
              std::min(count << g.cluster_bits(), image.eof - (first << g.cluster_bits()))};
    f.count = count;
    f.detail = tables != 0 ? fmt::format("{} of {} clusters look like L2 or snapshot tables", tables, count)
                           : "no metadata is recognised";
    image.report(std::move(f));
    count = tables = 0;
  };
  auto leak = leaks.begin();
  labels.for_each_run(
      labels.window_begin(), labels.window_end(),
      [&](std::uint64_t begin, std::uint64_t length, Label label) {
        if (label.kind != Kind::free) return;
        for (std::uint64_t c = begin; c < begin + length && !image.progress.stop_requested();) {
          while (leak != leaks.end() && leak->first + leak->count <= c) ++leak;
          if (leak != leaks.end() && c >= leak->first) {
            c = leak->first + leak->count;
            continue;
          }
          const auto extent = image.device.extent(c << g.cluster_bits());
          const std::uint64_t hole_end = extent.end >> g.cluster_bits();
          if (extent.hole && hole_end > c) {
            c = hole_end;
            continue;
          }
          const auto read = image.device.read(c << g.cluster_bits(), bytes);
          const auto content =
              classify(base::ConstBytes(bytes).first(static_cast<std::size_t>(read.valid)), walk.rules())
                  .content;
          if (content == Content::empty || c != first + count) flush();
          if (content != Content::empty) {
            if (count == 0) first = c;
            ++count;
            tables += content == Content::other ? 0 : 1;
          }
          ++c;
        }
      });
  flush();
}

}  // namespace cowvet::analyzer
