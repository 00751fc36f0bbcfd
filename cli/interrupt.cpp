#include "cli/interrupt.hpp"

#include <atomic>
#include <csignal>

#include <unistd.h>

namespace cowvet::cli {

namespace {

std::atomic<base::Progress*> working{nullptr};

void on_signal(int number) {
  auto* const progress = working.load(std::memory_order_relaxed);
  if (progress == nullptr || progress->stop_requested()) ::_exit(128 + number);
  progress->request_stop();
}

}  // namespace

StopOnSignal::StopOnSignal(base::Progress& progress) {
  working.store(&progress, std::memory_order_relaxed);
  (void)std::signal(SIGINT, on_signal);
  (void)std::signal(SIGTERM, on_signal);
}

StopOnSignal::~StopOnSignal() {
  (void)std::signal(SIGINT, SIG_DFL);
  (void)std::signal(SIGTERM, SIG_DFL);
  working.store(nullptr, std::memory_order_relaxed);
}

}  // namespace cowvet::cli
