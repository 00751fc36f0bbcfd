#include "tests/crash/judge.hpp"

#include <algorithm>

#include <fmt/format.h>

#include "format/geometry.hpp"
#include "model/found.hpp"
#include "storage/memory.hpp"

namespace cowvet::crash {

namespace {

using format::limits::sector;

// What is wrong with an image; empty: nothing.
std::string misfit(const Bytes& now, const Expected& expected) {
  if (std::ranges::none_of(expected.contents, [&](const Bytes& c) { return c.size() == now.size(); }))
    return fmt::format("a disk of {} bytes", now.size());
  for (std::size_t at = 0; at < now.size(); at += sector) {
    const auto fits = [&](const Bytes& c) {
      return at < c.size() &&
             std::equal(now.begin() + static_cast<std::ptrdiff_t>(at),
                        now.begin() + static_cast<std::ptrdiff_t>(std::min(at + sector, now.size())),
                        c.begin() + static_cast<std::ptrdiff_t>(at));
    };
    if (std::ranges::none_of(expected.contents, fits)) return fmt::format("neither old nor new at {}", at);
  }
  return {};
}

std::string misfit(const Snapshots& now, const Expected& expected) {
  for (const auto& [id, bytes] : now) {
    const auto old = expected.before.find(id), made = expected.after.find(id);
    const bool fits = (old != expected.before.end() && old->second == bytes) ||
                      (made != expected.after.end() && made->second == bytes);
    if (!fits) return fmt::format("snapshot {} reads as never before", id);
  }
  for (const auto& [id, bytes] : expected.before)
    if (expected.after.contains(id) && !now.contains(id)) return fmt::format("snapshot {} is gone", id);
  return {};
}

}  // namespace

Bytes content(const engine::Disk& disk) {
  Bytes bytes(static_cast<std::size_t>(disk.size()));
  if (!disk.read(base::GuestOffset{0}, bytes)) bytes.clear();
  return bytes;
}

Snapshots snapshots_of(const engine::Qcow2Disk& disk) {
  Snapshots all;
  for (const auto& s : disk.snapshots()) {
    const auto view = disk.snapshot_disk(s.id);
    all[s.id] = view ? content(**view) : Bytes{};
  }
  return all;
}

std::string judge(const Configuration& configuration, const Operation& operation, const Bytes& state,
                  const Expected& expected, bool again) {
  storage::MemoryDevice file(state);
  Session session(file, configuration.backing);
  if (auto opened = session.open(false); !opened) return "does not open: " + opened.error().message;
  const bool dirty = session.disk().header().dirty();  // then the counts are known to be out of date
  if (!dirty)
    if (auto found = model::findings(file, model::Leaks::allowed, true); !found.empty()) return found;
  if (auto wrong = misfit(content(session.disk()), expected); !wrong.empty()) return wrong;
  const auto snapshots = snapshots_of(session.disk());
  if (auto wrong = misfit(snapshots, expected); !wrong.empty()) return wrong;
  const auto finish = [&](std::string_view when) -> std::string {
    if (auto closed = session.disk().close(); !closed)
      return fmt::format("{}: {}", when, closed.error().message);
    auto found = model::findings(file, model::Leaks::allowed, true);
    return found.empty() ? found : fmt::format("{}: {}", when, found);
  };
  if (auto opened = session.open(true); !opened)
    return "does not open for writing: " + opened.error().message;
  auto& disk = session.disk();
  const std::uint64_t length = std::min<std::uint64_t>(disk.size(), 5000);
  if (auto done = disk.write(base::GuestOffset{0}, Bytes(static_cast<std::size_t>(length), std::byte{0xee}));
      !done)
    return "one more write: " + done.error().message;
  if (auto found = finish("after one more write"); !found.empty()) return found;
  if (snapshots_of(disk) != snapshots) return "one more write changed a snapshot";
  if (!again) return {};
  storage::MemoryDevice copy(state);
  Session repeated(copy, configuration.backing);
  if (auto opened = repeated.open(true); !opened) return "does not open again: " + opened.error().message;
  if (auto done = operation.perform(repeated);
      !done && done.error().kind != base::ErrorKind::usage && done.error().kind != base::ErrorKind::limit)
    return "done again: " + done.error().message;
  if (auto closed = repeated.disk().close(); !closed) return "done again: " + closed.error().message;
  auto found = model::findings(copy, model::Leaks::allowed, true);
  return found.empty() ? found : "after it was done again: " + found;
}

}  // namespace cowvet::crash
