// What became of each guest byte of a layer: copied for certain, copied by inference, not there, lost. Promises: ranges
// in order, without gaps or overlap, neighbours of one kind as one; memory is bounded: where a layer is too fragmented,
// ranges are told coarser, and never as better than they are. The text is a mapfile as GNU ddrescue writes them.
#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.hpp"

namespace cowvet::repair {

enum class Fate : std::uint8_t {
  below,     // not stored in this layer: what lies below decides
  certain,   // as the image's metadata says
  inferred,  // by the best evidence
  lost,
};

struct FateRange {
  std::uint64_t begin = 0, end = 0;  // guest bytes
  Fate fate = Fate::certain;
  std::string why = {};  // lost and inferred
};

class LayerMap {
 public:
  // The next range, behind all others.
  void append(std::uint64_t length, Fate fate, std::string_view why = {});
  // What was found out later: ranges in order, without overlap.
  void repaint(std::span<const FateRange> found);

  [[nodiscard]] const std::vector<FateRange>& ranges() const { return ranges_; }
  [[nodiscard]] std::uint64_t end() const { return ranges_.empty() ? 0 : ranges_.back().end; }
  [[nodiscard]] std::uint64_t bytes(Fate fate) const;
  // The range that holds `at` < end().
  [[nodiscard]] const FateRange& at(std::uint64_t at) const;

 private:
  static constexpr std::size_t most_ranges = 1U << 18;
  void add(FateRange range);

  std::vector<FateRange> ranges_;
};

// As ddrescue's mapfile: '+' is read, '-' lost. What is inferred, or not in the layer, is read as well, with a comment.
// `title` is one line.
[[nodiscard]] std::string mapfile(const LayerMap& map, std::string_view title);
// Error wrong_format: no mapfile, or one with gaps. Everything but '+' is lost.
[[nodiscard]] base::Result<LayerMap> parse_mapfile(std::string_view text);

}  // namespace cowvet::repair
