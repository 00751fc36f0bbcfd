// Work on all cores. Promises: every task runs exactly once, on one of `jobs` workers; with one worker or one task no
// thread is started; returns when all is done.
#pragma once
#include <algorithm>
#include <atomic>
#include <cstddef>
#include <thread>
#include <vector>

namespace cowvet::base {

// Threads to use when the user named none.
[[nodiscard]] inline unsigned default_jobs() {
  return std::clamp(std::thread::hardware_concurrency(), 1U, 64U);
}

// Calls run(task, worker) for every task in [0, tasks); worker < jobs tells threads apart, so that each can
// have its own buffers. Tasks begin in ascending order. run must not throw.
template <class Run>
void parallel_for(unsigned jobs, std::size_t tasks, Run&& run) {
  const auto workers = static_cast<unsigned>(std::min<std::size_t>(std::max(jobs, 1U), tasks));
  if (workers <= 1) {
    for (std::size_t task = 0; task < tasks; ++task) run(task, 0U);
    return;
  }
  std::atomic<std::size_t> next{0};
  const auto work = [&](unsigned worker) {
    for (std::size_t task = next++; task < tasks; task = next++) run(task, worker);
  };
  std::vector<std::jthread> threads;
  threads.reserve(workers - 1);
  for (unsigned worker = 1; worker < workers; ++worker) threads.emplace_back(work, worker);
  work(0);
}

}  // namespace cowvet::base
