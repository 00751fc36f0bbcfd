// What a verb takes on its command line. Promises: one place knows the argument parser; help and errors look the same
// for all verbs; what was not given keeps the value it had.
#pragma once
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "cli/console.hpp"
#include "cli/exit_codes.hpp"

namespace cowvet::cli {

class Arguments {
 public:
  // `examples` are lines of "command  # what it does" for the help.
  Arguments(const std::string& verb, const std::string& summary, const std::string& examples);
  ~Arguments();
  Arguments(const Arguments&) = delete;
  Arguments& operator=(const Arguments&) = delete;

  // `names` as "-q,--quiet"; `what` is the value's name in the help. The values outlive parse().
  void flag(std::string names, bool& on, std::string help);
  void text(std::string names, std::string& value, const std::string& what, std::string help);
  void texts(std::string names, std::vector<std::string>& values, std::string what, std::string help);
  void word(const std::string& names, std::string& value, std::initializer_list<std::string_view> words,
            std::string help);
  void number(const std::string& names, std::uint64_t& value, std::string help);
  // A number of bytes with qemu-img's suffixes: 512, 64k, 1.5G.
  void size(const std::string& names, std::optional<std::uint64_t>& value, std::string help);
  // Options whose order counts: `seen` is called for each one when it is met.
  void step(std::string names, std::function<void()> seen, std::string help);
  void step(std::string names, const std::string& what, const std::function<void(const std::string&)>& seen,
            std::string help);
  // What stands without an option; unless not required, there must be one.
  void operand(std::string& value, std::string what, std::string help, bool required = true);
  void operands(std::vector<std::string>& several, std::string what, std::string help, bool required = true);

  // Nothing when all is well; otherwise help or the error was printed and the verb ends with this code.
  [[nodiscard]] std::optional<Exit> parse(std::span<char* const> arguments, Console& console);

 private:
  struct Parser;
  std::unique_ptr<Parser> parser_;
};

// "64k" as bytes: a decimal number with b, k, M, G, T, P or E for powers of 1024, fractions of these allowed,
// or "0x" and a hexadecimal number.
enum class SizeStatus : std::uint8_t { good, malformed, too_large };
struct ReadSize {
  SizeStatus status = SizeStatus::good;
  std::uint64_t bytes = 0;
};
[[nodiscard]] ReadSize read_size(std::string_view text);
// The same; nothing when it is no size or doesn't fit.
[[nodiscard]] std::optional<std::uint64_t> parse_size(std::string_view text);

// The candidate that `word` probably means; empty when none is near.
[[nodiscard]] std::string_view nearest(std::string_view word, std::span<const std::string_view> candidates);

}  // namespace cowvet::cli
