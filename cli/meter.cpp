#include "cli/meter.hpp"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "base/text.hpp"
#include "cli/console.hpp"

namespace cowvet::cli {

namespace {

using Seconds = std::chrono::duration<double>;

std::string duration(double seconds) {
  const auto whole = static_cast<std::uint64_t>(std::llround(seconds));
  if (whole < 60) return fmt::format("{} s", whole);
  if (whole < 3600) return fmt::format("{} min {:02} s", whole / 60, whole % 60);
  return fmt::format("{} h {:02} min", whole / 3600, whole / 60 % 60);
}

}  // namespace

std::string progress_line(std::uint64_t done, std::uint64_t total, Seconds elapsed, std::string_view unit) {
  if (total == 0) return "starting";
  done = std::min(done, total);
  const auto amount = [&](std::uint64_t n) { return unit.empty() ? base::human_size(n) : std::to_string(n); };
  const double share = static_cast<double>(done) / static_cast<double>(total);
  auto line = fmt::format("{:4.1f} %  {} of {}", 100 * share, amount(done), amount(total));
  if (!unit.empty()) line += fmt::format(" {}", unit);
  if (const double rate = static_cast<double>(done) / elapsed.count(); done > 0 && elapsed.count() > 0) {
    line += fmt::format("  {}/s  {} left", amount(static_cast<std::uint64_t>(rate)),
                        duration(static_cast<double>(total - done) / rate));
  }
  return line;
}

Meter::Style Meter::style(bool asked, bool quiet) {
  if (quiet) return Style::silent;
  if (Console::stderr_is_terminal()) return Style::bar;
  return asked ? Style::lines : Style::silent;
}

Meter::Meter(const base::Progress& progress, std::string label, Style style, std::string_view unit)
    : progress_(progress), label_(std::move(label)), style_(style), unit_(unit) {
  if (style_ != Style::silent) thread_ = std::thread([this] { show(); });
}

Meter::~Meter() {
  if (!thread_.joinable()) return;
  {
    const std::lock_guard lock(mutex_);
    over_ = true;
  }
  wake_.notify_one();
  thread_.join();
}

void Meter::show() {
  using namespace std::chrono_literals;
  const auto started = std::chrono::steady_clock::now();
  const auto pause = style_ == Style::bar ? 100ms : 1000ms;
  bool shown = false;
  std::unique_lock lock(mutex_);
  if (wake_.wait_for(lock, 400ms, [this] { return over_; })) return;
  do {
    const Seconds elapsed = std::chrono::steady_clock::now() - started;
    const auto line = progress_line(progress_.done(), progress_.total(), elapsed, unit_);
    if (style_ == Style::bar)
      Console::write_stderr(fmt::format("\r\033[K{}: {}", label_, line));
    else
      Console::write_stderr(fmt::format("{}: {}\n", label_, line));
    shown = true;
  } while (!wake_.wait_for(lock, pause, [this] { return over_; }));
  if (shown && style_ == Style::bar) Console::write_stderr("\r\033[K");
}

}  // namespace cowvet::cli
