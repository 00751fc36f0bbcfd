// What a crash may leave of recorded changes of several files. Promises: every state is one that the devices'
// guarantees allow: each file has all before its own last flush, of what came since anything may be missing,
// in any combination over the files; a write of several sectors may be there in part. Where there are too
// many combinations, a stated selection is taken, and counted.
#pragma once
#include <functional>
#include <random>
#include <vector>

#include "tests/crash/states.hpp"
#include "tests/engine/chain_files.hpp"

namespace cowvet::crash {

using engine::testing_images::ChainFiles;

// Visits the states that the changes may leave of `durable`, the files before them.
inline Tried each_chain_state(ChainFiles::State durable, std::span<const ChainFiles::Change> recorded,
                              const Bounds& bounds,
                              const std::function<void(const ChainFiles::State&)>& visit) {
  using Kind = storage::Event::Kind;
  std::vector<ChainFiles::Change> changes(recorded.begin(), recorded.end());
  for (const auto& [name, bytes] : durable) {  // writes as the devices get them
    std::vector<storage::Event> events;
    for (const auto& change : changes)
      if (change.file == name) events.push_back(change.event);
    const auto whole = in_sectors(bytes, events);
    auto next = whole.begin();
    for (auto& change : changes)
      if (change.file == name) change.event = *next++;
  }
  Tried tried;
  std::mt19937 random(1);
  std::vector<const ChainFiles::Change*> open;  // not durable yet
  const auto show = [&](const ChainFiles::State& state) {
    ++tried.states;
    visit(state);
  };
  const auto with = [&](const std::function<bool(std::size_t)>& kept) {
    auto state = durable;
    for (std::size_t i = 0; i < open.size(); ++i)
      if (kept(i)) put(state.at(open[i]->file), open[i]->event);
    show(state);
  };
  const auto combinations = [&] {
    if (open.size() <= bounds.all_subsets) {
      for (std::uint64_t set = 0; set < 1ULL << open.size(); ++set)
        with([&](std::size_t i) { return (set >> i & 1) != 0; });
      return;
    }
    ++tried.bounded;
    for (std::size_t n = 0; n <= open.size(); ++n) {
      with([&](std::size_t i) { return i < n; });
      if (n == open.size()) break;
      with([&](std::size_t i) { return i != n; });
      with([&](std::size_t i) { return i == n; });
    }
    for (const auto* const first :
         {&open.front()->file, &open.back()->file})  // one file is ahead of the others
      with([&](std::size_t i) { return open[i]->file == *first; });
    for (std::size_t n = 0; n < bounds.random; ++n) {
      const auto salt = random();
      with([&](std::size_t i) { return (std::hash<std::size_t>{}(i * 2654435761U ^ salt) >> 7 & 1U) != 0; });
    }
  };
  const auto tears = [&] {
    constexpr std::size_t sector = 512;
    auto before = durable;
    for (const auto* const change : open) {
      const auto& bytes = change->event.bytes;
      const std::size_t sectors = (bytes.size() + sector - 1) / sector;
      const std::size_t step =
          std::max<std::size_t>(1, (std::max<std::size_t>(sectors, 1) - 1) / bounds.tears);
      for (std::size_t s = 1; s < sectors; s += step)
        for (const bool head : {true, false}) {
          auto state = before;
          put(state.at(change->file), change->event, head ? 0 : s * sector, head ? s * sector : bytes.size());
          show(state);
        }
      put(before.at(change->file), change->event);
    }
  };
  for (std::size_t i = 0; i <= changes.size(); ++i) {
    if (i < changes.size() && changes[i].event.kind != Kind::flush) {
      open.push_back(&changes[i]);
      continue;
    }
    combinations();
    tears();
    if (i == changes.size()) break;
    std::erase_if(open, [&](const ChainFiles::Change* change) {
      if (change->file != changes[i].file) return false;
      put(durable.at(change->file), change->event);
      return true;
    });
  }
  return tried;
}

}  // namespace cowvet::crash
