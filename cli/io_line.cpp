#include "cli/io_line.hpp"

#include <charconv>

#include <fmt/format.h>

#include "cli/arguments.hpp"

namespace cowvet::cli {

std::vector<std::string> io_words(std::string_view line) {
  std::vector<std::string> words;
  while (!line.empty()) {
    const auto end = std::min(line.find(' '), line.size());
    if (end != 0) words.emplace_back(line.substr(0, end));
    line.remove_prefix(std::min(end + 1, line.size()));
  }
  return words;
}

IoLine parse_io_line(const std::vector<std::string>& words, std::string_view letters) {
  IoLine line{.command = words.front()};
  bool operands_only = false;
  for (std::size_t i = 1; i < words.size(); ++i) {
    const std::string& word = words[i];
    if (operands_only || word.size() < 2 || word.front() != '-') {
      line.operands.push_back(word);
      continue;
    }
    if (word == "--") {
      operands_only = true;
      continue;
    }
    for (std::size_t at = 1; at < word.size(); ++at) {
      const char letter = word[at];
      const auto known = letter == ':' ? std::string_view::npos : letters.find(letter);
      if (known == std::string_view::npos) {
        line.options.push_back({.fault = fmt::format("{}: invalid option -- '{}'", line.command, letter)});
        continue;
      }
      const bool valued = known + 1 < letters.size() && letters[known + 1] == ':';
      if (!valued) {
        line.options.push_back({.letter = letter});
      } else if (at + 1 < word.size()) {
        line.options.push_back({.letter = letter, .value = word.substr(at + 1)});
        break;
      } else if (i + 1 < words.size()) {
        line.options.push_back({.letter = letter, .value = words[++i]});
        break;
      } else {
        line.options.push_back(
            {.fault = fmt::format("{}: option requires an argument -- '{}'", line.command, letter)});
      }
    }
  }
  return line;
}

std::expected<std::uint64_t, std::string> io_number(std::string_view text) {
  const auto size = read_size(text.starts_with('+') ? text.substr(1) : text);
  if (size.status == SizeStatus::malformed)
    return std::unexpected(
        fmt::format("Parsing error: non-numeric argument, or extraneous/unrecognized suffix -- {}", text));
  if (size.status == SizeStatus::too_large || size.bytes > INT64_MAX)
    return std::unexpected(fmt::format("Parsing error: argument too large -- {}", text));
  return size.bytes;
}

std::optional<std::uint8_t> io_pattern(std::string_view text) {
  if (text.starts_with('+')) text.remove_prefix(1);
  int base = 10;
  if (text.starts_with("0x") || text.starts_with("0X")) {
    base = 16;
    text.remove_prefix(2);
  } else if (text.size() > 1 && text.front() == '0') {
    base = 8;
  }
  std::uint8_t byte = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), byte, base);
  if (text.empty() || error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return byte;
}

}  // namespace cowvet::cli
