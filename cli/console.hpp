// Where a verb prints: results to stdout, everything else to stderr. Promises: output is gathered and written in large
// pieces; a stdout that can't be written is noticed once and told.
#pragma once
#include <string>
#include <string_view>

#include "base/result.hpp"

namespace cowvet::cli {

enum class Color { automatic, always, never };

class Console {
 public:
  // `program`: the name that messages begin with; another one than cowvet's own when a link calls it so.
  explicit Console(std::string_view program = "cowvet") : program_(program) {}
  Console(const Console&) = delete;
  Console& operator=(const Console&) = delete;
  ~Console() { (void)flush(); }

  void print(std::string_view text);
  // The text that the next print would go behind; a caller may append to it and then call settle().
  [[nodiscard]] std::string& pending() { return pending_; }
  void settle();
  [[nodiscard]] const std::string& program() const { return program_; }
  // "cowvet: MESSAGE" on stderr, after everything printed so far.
  void complain(std::string_view message);
  // False when stdout could not be written; that was told on stderr.
  [[nodiscard]] bool flush();

  // Whether stdout gets colours, considering NO_COLOR and TERM.
  [[nodiscard]] static bool colored(Color wish);
  [[nodiscard]] static bool stderr_is_terminal();
  [[nodiscard]] static unsigned terminal_width();  // columns of stdout's terminal; 100 where there is none
  static void write_stderr(std::string_view text);

 private:
  std::string program_;
  std::string pending_;
  bool broken_ = false;
};

// Writes a whole file, replacing what is there. A device such as /dev/stdout will do.
[[nodiscard]] base::Result<void> write_file(const std::string& file, std::string_view text);
// The whole of a file that is no larger than a text may be.
[[nodiscard]] base::Result<std::string> read_file(const std::string& file);

}  // namespace cowvet::cli
