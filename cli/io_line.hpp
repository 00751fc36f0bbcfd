// One line of qemu-io's command language, taken apart: words between blanks, options before, between and
// behind operands, numbers with suffixes. Promises: what a line means, and what is said of one that means
// nothing, is what qemu-io says.
#pragma once
#include <cstdint>
#include <expected>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace cowvet::cli {

// The words of a line; only blanks part them, and nothing quotes.
[[nodiscard]] std::vector<std::string> io_words(std::string_view line);

// An option as it was given. Letter '?': one that is not known, or lacks its value; `fault` says so.
struct IoOption {
  char letter = '?';
  std::string value = {}, fault = {};
};

struct IoLine {
  std::string command;  // as it was typed
  std::vector<IoOption> options = {};
  std::vector<std::string> operands = {};
};

// `words` begin with the command; `letters` are the options it takes, a ':' behind those with a value.
// Nothing but operands follows "--".
[[nodiscard]] IoLine parse_io_line(const std::vector<std::string>& words, std::string_view letters);

// A number as a command takes it, or what is wrong with it.
[[nodiscard]] std::expected<std::uint64_t, std::string> io_number(std::string_view text);
// A byte to fill or to compare with: decimal, 0x hexadecimal or 0 octal.
[[nodiscard]] std::optional<std::uint8_t> io_pattern(std::string_view text);

}  // namespace cowvet::cli
