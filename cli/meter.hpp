// Shows how far long work has come: on a terminal a line that is rewritten, with rate and time left; elsewhere, when
// asked, a line a percentage. Promises: nothing is shown for work that is done in a moment; nothing is left
// on the line.
#pragma once
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>

#include "base/progress.hpp"

namespace cowvet::cli {

// The line for `done` of `total` after `elapsed`: "12.3 %  1.2 GiB of 9.8 GiB  812 MiB/s  11 s left". `unit` is what is
// counted, bytes when empty: "12.3 %  123 of 1000 operations  37/s  24 s left".
[[nodiscard]] std::string progress_line(std::uint64_t done, std::uint64_t total,
                                        std::chrono::duration<double> elapsed, std::string_view unit = {});

class Meter {
 public:
  enum class Style { silent, lines, bar };
  // A bar on a terminal unless quiet; lines elsewhere when asked.
  [[nodiscard]] static Style style(bool asked, bool quiet);

  // `unit`: what `progress` counts, bytes when empty.
  Meter(const base::Progress& progress, std::string label, Style style, std::string_view unit = {});
  Meter(const Meter&) = delete;
  Meter& operator=(const Meter&) = delete;
  ~Meter();

 private:
  void show();

  const base::Progress& progress_;
  const std::string label_;
  const Style style_;
  const std::string_view unit_;
  std::mutex mutex_;
  std::condition_variable wake_;
  bool over_ = false;
  std::thread thread_;
};

}  // namespace cowvet::cli
