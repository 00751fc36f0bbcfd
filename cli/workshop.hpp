// A scratch folder in which other programs are run. Promises: it is gone with everything in it when the work is over,
// also after Ctrl-C; a program that does not end in time, or is not wanted any longer, is ended with all that
// it started.
#pragma once
#include <chrono>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>

#include "base/progress.hpp"
#include "base/result.hpp"

namespace cowvet::cli {

class Workshop {
 public:
  // In $TMPDIR, or else in /tmp.
  [[nodiscard]] static base::Result<std::unique_ptr<Workshop>> make();
  Workshop(const Workshop&) = delete;
  Workshop& operator=(const Workshop&) = delete;
  ~Workshop();

  // Where the programs run; they may empty it.
  [[nodiscard]] std::filesystem::path folder() const { return root_ / "work"; }
  // What a shell said of the line, its exit status behind it; nothing when it ended well. A line that takes longer than
  // `patience` is ended, and that is what it said. Errors: cancelled when `progress` was asked to stop, io.
  [[nodiscard]] base::Result<std::optional<std::string>> run(const std::string& line,
                                                             const base::Progress& progress,
                                                             std::chrono::seconds patience) const;

  // Of a file in the folder; empty when there is none.
  [[nodiscard]] std::string first_line(const std::string& file) const;

 private:
  explicit Workshop(std::filesystem::path root) : root_(std::move(root)) {}
  std::filesystem::path root_;
};

}  // namespace cowvet::cli
