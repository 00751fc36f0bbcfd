// Ranges that could not be read, with the reason of each. Promises: told in order, without overlap,
// neighbours as one; safe from several threads.
#pragma once
#include <algorithm>
#include <cstdint>
#include <map>
#include <mutex>
#include <string>

namespace cowvet::engine {

class LostRanges {
 public:
  void add(std::uint64_t at, std::uint64_t length, const std::string& why) {
    const std::scoped_lock lock(mutex_);
    std::uint64_t end = at + length;
    std::string reason = why;
    // Whatever touches the range becomes part of it.
    for (auto next = ranges_.upper_bound(end); next != ranges_.begin();) {
      --next;
      if (next->second.end < at) break;
      if (next->first <= at) reason = next->second.why;
      at = std::min(at, next->first);
      end = std::max(end, next->second.end);
      next = ranges_.erase(next);
    }
    ranges_.emplace(at, Range{end, std::move(reason)});
  }

  // visit(at, length, why)
  template <class Visit>
  void each(const Visit& visit) const {
    const std::scoped_lock lock(mutex_);
    for (const auto& [at, range] : ranges_) visit(at, range.end - at, range.why);
  }

 private:
  struct Range {
    std::uint64_t end;
    std::string why;
  };
  mutable std::mutex mutex_;
  std::map<std::uint64_t, Range> ranges_;  // by begin
};

}  // namespace cowvet::engine
