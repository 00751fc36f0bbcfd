// What a crash may leave of recorded writes to one file. Promises: every state is one that the device's
// guarantees allow: all before the last flush is there, of what came since anything may be missing, a write
// of several sectors may be there in part. Where there are too many sets of missing writes, a stated
// selection is taken, and counted.
#pragma once
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <random>
#include <span>
#include <string_view>
#include <vector>

#include "storage/recorder.hpp"

namespace cowvet::crash {

using Bytes = std::vector<std::byte>;

inline void put(Bytes& bytes, const storage::Event& e, std::size_t from, std::size_t end) {
  using Kind = storage::Event::Kind;
  if (e.kind == Kind::resize) bytes.resize(static_cast<std::size_t>(e.position));
  if (e.kind == Kind::discard || e.kind == Kind::zero) {
    const auto last = std::min<std::uint64_t>(bytes.size(), e.position + e.length);
    for (auto i = e.position; i < last; ++i) bytes[static_cast<std::size_t>(i)] = std::byte{0};
  }
  if (e.kind != Kind::write) return;
  const auto at = static_cast<std::size_t>(e.position);
  bytes.resize(std::max(bytes.size(), at + end));
  std::copy(e.bytes.begin() + static_cast<std::ptrdiff_t>(from),
            e.bytes.begin() + static_cast<std::ptrdiff_t>(end),
            bytes.begin() + static_cast<std::ptrdiff_t>(at + from));
}
inline void put(Bytes& bytes, const storage::Event& e) { put(bytes, e, 0, e.bytes.size()); }

// Tells states apart.
inline std::size_t hash_of(const Bytes& state) {
  return std::hash<std::string_view>{}({reinterpret_cast<const char*>(state.data()), state.size()});
}

// A number in the environment, which makes a test longer or shorter.
inline std::uint64_t number(const char* variable, std::uint64_t otherwise) {
  const char* text = std::getenv(variable);
  return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

struct Bounds {
  std::size_t all_subsets = 6;  // of so many unflushed events all sets are tried
  std::size_t random = 12;      // sets, where there are more
  std::size_t tears = 6;        // places in a write
};

struct Tried {
  std::uint64_t states = 0;   // visited
  std::uint64_t bounded = 0;  // intervals between flushes of which not all sets were tried
};

// Writes as a device gets them: whole sectors, with what was in them when the write was made.
inline std::vector<storage::Event> in_sectors(Bytes file, std::span<const storage::Event> events) {
  constexpr std::uint64_t sector = 512;
  std::vector<storage::Event> whole;
  for (const auto& e : events) {
    put(file, e);
    whole.push_back(e);
    if (e.kind != storage::Event::Kind::write || e.bytes.empty()) continue;
    auto& w = whole.back();
    const std::uint64_t begin = e.position / sector * sector;
    const std::uint64_t end =
        std::min<std::uint64_t>((e.position + e.bytes.size() + sector - 1) / sector * sector, file.size());
    w.position = begin;
    w.bytes.assign(file.begin() + static_cast<std::ptrdiff_t>(begin),
                   file.begin() + static_cast<std::ptrdiff_t>(end));
  }
  return whole;
}

// Visits the states between `first` (an index of `events`) and the end. `before`: the file at events[0].
inline Tried each_state(Bytes before, std::span<const storage::Event> recorded, std::size_t first,
                        const Bounds& bounds, const std::function<void(const Bytes&)>& visit) {
  Tried tried;
  const auto events_of_sectors = in_sectors(before, recorded);
  const std::span events(events_of_sectors);
  const auto show = [&](const Bytes& bytes) {
    ++tried.states;
    visit(bytes);
  };
  std::mt19937 random(1);
  for (std::size_t begin = 0; begin <= events.size();) {
    auto end = begin;
    while (end < events.size() && events[end].kind != storage::Event::Kind::flush) ++end;
    const auto open = events.subspan(begin, end - begin);
    const auto with = [&](const std::function<bool(std::size_t)>& kept) {
      Bytes bytes = before;
      for (std::size_t i = 0; i < open.size(); ++i)
        if (kept(i)) put(bytes, open[i]);
      show(bytes);
    };
    if (end >= first) {
      if (open.size() <= bounds.all_subsets) {
        for (std::uint64_t set = 0; set < 1ULL << open.size(); ++set)
          with([&](std::size_t i) { return (set >> i & 1) != 0; });
      } else {
        ++tried.bounded;
        for (std::size_t n = 0; n <= open.size(); ++n) {
          with([&](std::size_t i) { return i < n; });
          if (n == open.size()) break;
          with([&](std::size_t i) { return i != n; });
          with([&](std::size_t i) { return i == n; });
        }
        for (std::size_t n = 0; n < bounds.random; ++n) {
          const auto salt = random();
          with([&](std::size_t i) {
            return (std::hash<std::size_t>{}(i * 2654435761U ^ salt) >> 7 & 1U) != 0;
          });
        }
      }
      constexpr std::size_t sector = 512;
      for (std::size_t n = 0; n < open.size(); ++n) {
        const std::size_t sectors = (open[n].bytes.size() + sector - 1) / sector;
        if (sectors < 2) continue;
        const std::size_t step = std::max<std::size_t>(1, (sectors - 1) / bounds.tears);
        for (std::size_t s = 1; s < sectors; s += step)
          for (const bool head : {true, false}) {
            const std::size_t cut = s * sector;
            Bytes bytes = before;
            for (std::size_t i = 0; i < n; ++i) put(bytes, open[i]);
            put(bytes, open[n], head ? 0 : cut, head ? cut : open[n].bytes.size());
            show(bytes);
          }
      }
    }
    for (const auto& e : open) put(before, e);
    begin = end + 1;
  }
  return tried;
}

}  // namespace cowvet::crash
