#include "repair/layer_map.hpp"

#include <algorithm>
#include <charconv>
#include <optional>

#include <fmt/format.h>

#include "base/text.hpp"

namespace cowvet::repair {

void LayerMap::append(std::uint64_t length, Fate fate, std::string_view why) {
  if (length != 0) add({end(), end() + length, fate, std::string(why)});
}

void LayerMap::add(FateRange range) {
  if (!ranges_.empty()) {
    auto& last = ranges_.back();
    if (last.fate == range.fate && last.why == range.why) {
      last.end = range.end;
      return;
    }
    if (ranges_.size() >= most_ranges) {
      if (last.fate < range.fate) last.fate = range.fate;
      last.why = "and others: the layer is too fragmented to tell them apart";
      last.end = range.end;
      return;
    }
  }
  ranges_.push_back(std::move(range));
}

void LayerMap::repaint(std::span<const FateRange> found) {
  const std::uint64_t stop = end();
  std::vector<FateRange> old;
  old.swap(ranges_);
  auto next = old.begin();
  // The old ranges up to `until`.
  const auto keep = [&](std::uint64_t until) {
    for (; next != old.end() && next->begin < until; ++next) {
      const std::uint64_t begin = std::max(next->begin, end());
      if (next->end > begin && begin < until) add({begin, std::min(next->end, until), next->fate, next->why});
      if (next->end > until) return;
    }
  };
  for (const auto& range : found) {
    if (range.begin >= stop || range.begin >= range.end) continue;
    keep(range.begin);
    add({range.begin, std::min(range.end, stop), range.fate, range.why});
    while (next != old.end() && next->end <= range.end) ++next;
  }
  keep(stop);
}

std::uint64_t LayerMap::bytes(Fate fate) const {
  std::uint64_t sum = 0;
  for (const auto& range : ranges_)
    if (range.fate == fate) sum += range.end - range.begin;
  return sum;
}

const FateRange& LayerMap::at(std::uint64_t at) const {
  return *std::ranges::upper_bound(ranges_, at, {}, &FateRange::end);
}

std::string mapfile(const LayerMap& map, std::string_view title) {
  std::string out = fmt::format("# Mapfile. Created by cowvet salvage: {}\n", title);
  out += "# current_pos  current_status  current_pass\n";
  out += fmt::format("0x{:08X}     +               1\n#      pos        size  status\n", map.end());
  for (const auto& range : map.ranges()) {
    if (range.fate == Fate::below) out += "# not in this layer: what lies below decides\n";
    if (range.fate == Fate::inferred) out += fmt::format("# inferred: {}\n", base::escape(range.why));
    if (range.fate == Fate::lost) out += fmt::format("# lost: {}\n", base::escape(range.why));
    out += fmt::format("0x{:08X}  0x{:08X}  {}\n", range.begin, range.end - range.begin,
                       range.fate == Fate::lost ? '-' : '+');
  }
  return out;
}

namespace {

// The next word of a line, taken off it.
std::string_view word(std::string_view& line) {
  const auto begin = line.find_first_not_of(" \t");
  if (begin == std::string_view::npos) return line = {};
  const auto end = std::min(line.find_first_of(" \t", begin), line.size());
  const auto found = line.substr(begin, end - begin);
  line.remove_prefix(end);
  return found;
}

std::optional<std::uint64_t> number(std::string_view text) {
  const bool hexadecimal = text.starts_with("0x") || text.starts_with("0X");
  if (hexadecimal) text.remove_prefix(2);
  std::uint64_t value = 0;
  const auto [stop, error] =
      std::from_chars(text.data(), text.data() + text.size(), value, hexadecimal ? 16 : 10);
  if (text.empty() || error != std::errc{} || stop != text.data() + text.size()) return std::nullopt;
  return value;
}

}  // namespace

base::Result<LayerMap> parse_mapfile(std::string_view text) {
  LayerMap map;
  bool status_seen = false;
  for (std::size_t line_number = 1; !text.empty(); ++line_number) {
    const auto end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    const auto first = line.find_first_not_of(" \t\r");
    if (first == std::string_view::npos || line[first] == '#') continue;
    if (!status_seen) {
      status_seen = true;
      continue;
    }
    const auto begin = number(word(line)), length = number(word(line));
    const auto status = word(line);
    constexpr std::uint64_t limit = 1ULL << 63;
    if (!begin || !length || *begin != map.end() || *length == 0 || *length > limit - *begin ||
        status.size() != 1 || std::string_view("?*/-+").find(status[0]) == std::string_view::npos)
      return base::fail(base::ErrorKind::wrong_format,
                        fmt::format("line {} is none of a mapfile without gaps", line_number));
    const bool read = status[0] == '+';
    map.append(*length, read ? Fate::certain : Fate::lost, read ? "" : "not read before");
  }
  if (map.ranges().empty()) return base::fail(base::ErrorKind::wrong_format, "no mapfile: it names no range");
  return map;
}

}  // namespace cowvet::repair
