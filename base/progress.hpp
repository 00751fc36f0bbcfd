// One token that long work carries: it counts the work done and is where a request to stop arrives.
// Promises: both are safe from any thread; a signal handler may call request_stop().
#pragma once
#include <atomic>
#include <cstdint>

namespace cowvet::base {

class Progress {
 public:
  // The work ahead, in bytes unless somebody says otherwise; may grow while the work goes on.
  void expect(std::uint64_t work) { total_.fetch_add(work, std::memory_order_relaxed); }
  void advance(std::uint64_t work) { done_.fetch_add(work, std::memory_order_relaxed); }
  [[nodiscard]] std::uint64_t total() const { return total_.load(std::memory_order_relaxed); }
  [[nodiscard]] std::uint64_t done() const { return done_.load(std::memory_order_relaxed); }

  void request_stop() noexcept { stop_.store(true, std::memory_order_relaxed); }
  [[nodiscard]] bool stop_requested() const noexcept { return stop_.load(std::memory_order_relaxed); }

 private:
  std::atomic<std::uint64_t> total_{0};
  std::atomic<std::uint64_t> done_{0};
  std::atomic<bool> stop_{false};
  static_assert(std::atomic<bool>::is_always_lock_free, "request_stop() is called from a signal handler");
};

}  // namespace cowvet::base
