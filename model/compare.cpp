#include "model/compare.hpp"

#include <algorithm>
#include <cstring>
#include <ranges>

#include <fmt/format.h>

namespace cowvet::model {

namespace {

using Bytes = std::vector<std::byte>;

std::optional<std::string> first_difference(base::ConstBytes actual, base::ConstBytes expected) {
  if (same(actual, expected)) return {};
  if (actual.size() != expected.size())
    return fmt::format("{} bytes long, expected {}", actual.size(), expected.size());
  const auto [a, e] = std::ranges::mismatch(actual, expected);
  const auto different = static_cast<std::uint64_t>(std::ranges::count_if(
      std::views::iota(std::size_t{0}, actual.size()), [&](auto i) { return actual[i] != expected[i]; }));
  return fmt::format("byte {:#x} of {:#x} is {:#04x}, expected {:#04x}; {} bytes differ", a - actual.begin(),
                     actual.size(), std::to_integer<int>(*a), std::to_integer<int>(*e), different);
}

std::optional<std::string> compare_bitmaps(const engine::Qcow2Disk& disk, const Layer& layer) {
  const auto list = disk.bitmaps();
  if (list.size() != layer.bitmaps.size())
    return fmt::format("{} bitmaps, expected {}", list.size(), layer.bitmaps.size());
  for (std::size_t i = 0; i < list.size(); ++i) {
    const auto& expected = layer.bitmaps[i];
    if (list[i].name != expected.name || list[i].granularity != expected.granularity ||
        list[i].enabled != expected.enabled || list[i].in_use == expected.trusted)
      return fmt::format("bitmap {} is {}{}{}", expected.name, list[i].name,
                         list[i].enabled ? ", enabled" : "", list[i].in_use ? ", in use" : "");
    if (!expected.trusted) continue;
    for (std::size_t bit = 0; bit < expected.marked.size(); ++bit) {
      const auto marked = disk.bitmap_marked(expected.name, base::GuestOffset{bit * expected.granularity}, 1);
      if (!marked) return marked.error().message;
      if (*marked != expected.marked[bit] && !(*marked && expected.perhaps[bit]))
        return fmt::format("bitmap {} has bit {} {}", expected.name, bit, *marked ? "set" : "clear");
    }
  }
  return {};
}

std::optional<std::string> compare_snapshots(const engine::Qcow2Disk& disk, const Layer& layer,
                                             bool extents) {
  const auto list = disk.snapshots();
  if (list.size() != layer.snapshots.size())
    return fmt::format("{} snapshots, expected {}", list.size(), layer.snapshots.size());
  for (std::size_t i = 0; i < list.size(); ++i) {
    const auto& expected = layer.snapshots[i];
    if (list[i].name != expected.name) return fmt::format("snapshot {} is {}", expected.name, list[i].name);
    const auto view = disk.snapshot_disk(expected.name);
    if (!view) return view.error().message;
    if (auto found = compare_content(**view, expected.state))
      return fmt::format("snapshot {}: {}", expected.name, *found);
    if (auto found = extents ? compare_extents(**view, expected.state, layer.setting.piece()) : std::nullopt)
      return fmt::format("snapshot {}: {}", expected.name, *found);
  }
  return {};
}

}  // namespace

bool same(base::ConstBytes a, base::ConstBytes b) {
  return a.size() == b.size() && (a.empty() || std::memcmp(a.data(), b.data(), a.size()) == 0);
}

std::optional<std::string> compare_content(const engine::Disk& disk, const State& state) {
  // What is not read must not look right.
  constexpr std::byte wrong{0xdb};
  Bytes bytes(disk.size(), wrong);
  if (auto read = disk.read(base::GuestOffset{0}, bytes); !read) return read.error().message;
  return first_difference(bytes, state.content);
}

std::optional<std::string> compare_extents(const engine::Disk& disk, const State& state,
                                           std::uint64_t piece) {
  const std::uint64_t size = state.content.size();
  for (std::uint64_t at = 0; at < size;) {
    const auto extent = disk.extent(base::GuestOffset{at}, size - at);
    if (!extent) return extent.error().message;
    const std::uint64_t end = at + extent->length;
    if (extent->length == 0 || end > size)
      return fmt::format("the extent at {:#x} has {} bytes", at, extent->length);
    if (at % piece != 0 || (end % piece != 0 && end != size))
      return fmt::format("the extent at {:#x} ends at {:#x}, within a piece", at, end);
    const auto against = extent->allocated ? Held::no : Held::yes;
    for (std::uint64_t k = at / piece; k * piece < end; ++k)
      if (state.held[k] == against)
        return fmt::format("what is at {:#x} is {}held by the layer", k * piece,
                           extent->allocated ? "" : "not ");
    if (extent->zero && !base::all_zero(base::ConstBytes(state.content).subspan(at, extent->length)))
      return fmt::format("what is at {:#x} to {:#x} is said to be zeros, and is not", at, end);
    at = end;
  }
  return {};
}

std::optional<Disagreement> compare(const engine::Qcow2Disk& disk, const Layer& layer, bool extents) {
  if (auto found = compare_content(disk, layer.disk)) return Disagreement{Oracle::content, *found};
  if (extents)
    if (auto found = compare_extents(disk, layer.disk, layer.setting.piece()))
      return Disagreement{Oracle::extent, *found};
  if (auto found = compare_snapshots(disk, layer, extents)) return Disagreement{Oracle::snapshot, *found};
  if (auto found = compare_bitmaps(disk, layer)) return Disagreement{Oracle::bitmap, *found};
  return {};
}

std::optional<Disagreement> compare_data_file(base::ConstBytes file, const Layer& layer) {
  if (layer.setting.data_file != DataFile::raw || layer.setting.encryption != format::CryptMethod::none)
    return {};
  auto found = first_difference(file, layer.disk.content);
  return found ? std::optional(Disagreement{Oracle::data_file, *found}) : std::nullopt;
}

}  // namespace cowvet::model
