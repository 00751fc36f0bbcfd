// What a crash may leave of recorded writes.
#pragma once
#include <algorithm>
#include <functional>
#include <span>
#include <vector>

#include "storage/recorder.hpp"

namespace cowvet::engine::testing_images {

// The image after the events up to `end`, of which those behind the last flush may be left out.
[[nodiscard]] inline std::vector<std::byte> replay(const std::vector<std::byte>& start,
                                                   std::span<const storage::Event> events,
                                                   const std::function<bool(std::size_t)>& kept) {
  using storage::Event;
  std::vector<std::byte> bytes = start;
  std::size_t durable = 0;  // events
  for (std::size_t i = 0; i < events.size(); ++i)
    if (events[i].kind == Event::Kind::flush) durable = i + 1;
  for (std::size_t i = 0; i < events.size(); ++i) {
    const auto& e = events[i];
    if (i >= durable && !kept(i)) continue;
    if (e.kind == Event::Kind::resize) bytes.resize(e.position);
    if (e.kind == Event::Kind::discard || e.kind == Event::Kind::zero) {
      const auto end = std::min<std::uint64_t>(bytes.size(), e.position + e.length);
      for (auto k = e.position; k < end; ++k) bytes[k] = std::byte{0};
    }
    if (e.kind != Event::Kind::write) continue;
    if (bytes.size() < e.position + e.bytes.size()) bytes.resize(e.position + e.bytes.size());
    std::ranges::copy(e.bytes, bytes.begin() + static_cast<std::ptrdiff_t>(e.position));
  }
  return bytes;
}

}  // namespace cowvet::engine::testing_images
