#include "cli/arguments.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "cli/program.hpp"

namespace cowvet::cli {

namespace {

// Examples as they are typed for the program that we are called as.
std::string with_name(const std::string& verb, std::string text) {
  const std::string own = "cowvet " + verb, shown = invocation(verb);
  for (std::size_t at = 0; (at = text.find(own, at)) != std::string::npos; at += shown.size())
    text.replace(at, own.size(), shown);
  return text;
}

}  // namespace

struct Arguments::Parser {
  CLI::App app;
  std::string verb;
  std::vector<std::string> names;  // of all options, for suggestions
  std::vector<std::pair<std::string, const CLI::Option*>> required;

  Parser(const std::string& verb_, const std::string& summary, const std::string& examples)
      : app(summary, invocation(verb_)), verb(verb_) {
    app.set_help_flag("-h,--help", "Show this help and end");
    app.allow_extras();
    app.footer("Examples:\n" + with_name(verb, examples) + "\n");
    app.get_formatter()->column_width(34);
  }

  // One value an occurrence, the last one counts, as with qemu-img.
  CLI::Option* one(CLI::Option* option, const std::string& what) {
    return option->type_name(what)
        ->multi_option_policy(CLI::MultiOptionPolicy::TakeLast)
        ->allow_extra_args(false);
  }

  [[nodiscard]] std::vector<std::string_view> option_names() const {
    std::vector<std::string_view> all;
    for (const auto& name : names) all.emplace_back(name);
    return all;
  }

  void remember(const CLI::Option* option) {
    for (const auto& name : option->get_lnames()) names.push_back("--" + name);
    for (const auto& name : option->get_snames()) names.push_back("-" + name);
  }

  // What is wrong with arguments that the parser took; empty when nothing is.
  [[nodiscard]] std::string complaint() const {
    for (const auto& extra : app.remaining()) {
      if (extra == "--") continue;  // what follows are operands
      if (extra.size() < 2 || extra.front() != '-') return fmt::format("unexpected argument '{}'", extra);
      const auto all = option_names();
      const auto meant = nearest(std::string_view(extra).substr(0, extra.find('=')), all);
      return meant.empty() ? fmt::format("there is no option '{}'", extra)
                           : fmt::format("there is no option '{}'; did you mean '{}'?", extra, meant);
    }
    for (const auto& [what, option] : required)
      if (option->count() == 0) return fmt::format("{} is missing", what);
    return {};
  }
};

Arguments::Arguments(const std::string& verb, const std::string& summary, const std::string& examples)
    : parser_(std::make_unique<Parser>(verb, summary, examples)) {}
Arguments::~Arguments() = default;

void Arguments::flag(std::string names, bool& on, std::string help) {
  parser_->remember(parser_->app.add_flag(std::move(names), on, std::move(help)));
}

void Arguments::text(std::string names, std::string& value, const std::string& what, std::string help) {
  parser_->remember(parser_->one(parser_->app.add_option(std::move(names), value, std::move(help)), what));
}

void Arguments::texts(std::string names, std::vector<std::string>& values, std::string what,
                      std::string help) {
  parser_->remember(parser_->app.add_option(std::move(names), values, std::move(help))
                        ->type_name(std::move(what))
                        ->allow_extra_args(false));
}

void Arguments::word(const std::string& names, std::string& value,
                     std::initializer_list<std::string_view> words, std::string help) {
  const std::vector<std::string> allowed(words.begin(), words.end());
  auto* option = parser_->app.add_option_function<std::string>(
      names,
      [&value, allowed, names](const std::string& given) {
        if (std::ranges::find(allowed, given) == allowed.end())
          throw CLI::ValidationError(
              fmt::format("'{}' is none of {} ({})", given, fmt::join(allowed, ", "), names));
        value = given;
      },
      std::move(help));
  parser_->remember(parser_->one(option, fmt::format("{}", fmt::join(allowed, "|"))));
}

void Arguments::number(const std::string& names, std::uint64_t& value, std::string help) {
  auto* option = parser_->app.add_option_function<std::string>(
      names,
      [&value, names](const std::string& given) {
        const char* end = given.data() + given.size();
        const auto [stop, error] = std::from_chars(given.data(), end, value);
        if (error != std::errc{} || stop != end)
          throw CLI::ValidationError(fmt::format("'{}' is no number ({})", given, names));
      },
      std::move(help));
  parser_->remember(parser_->one(option, "N"));
}

void Arguments::size(const std::string& names, std::optional<std::uint64_t>& value, std::string help) {
  auto* option = parser_->app.add_option_function<std::string>(
      names,
      [&value, names](const std::string& given) {
        value = parse_size(given);
        if (!value)
          throw CLI::ValidationError(fmt::format("'{}' is no size such as 64k or 10G ({})", given, names));
      },
      std::move(help));
  parser_->remember(parser_->one(option, "SIZE"));
}

void Arguments::step(std::string names, std::function<void()> seen, std::string help) {
  parser_->remember(
      parser_->app.add_flag_callback(std::move(names), std::move(seen), std::move(help))->trigger_on_parse());
}

void Arguments::step(std::string names, const std::string& what,
                     const std::function<void(const std::string&)>& seen, std::string help) {
  auto* option = parser_->app.add_option_function<std::string>(std::move(names), seen, std::move(help));
  parser_->remember(parser_->one(option, what)->trigger_on_parse());
}

void Arguments::operand(std::string& value, std::string what, std::string help, bool required) {
  const auto* option = parser_->app.add_option(what, value, std::move(help))->type_name("");
  if (required) parser_->required.emplace_back(std::move(what), option);
}

void Arguments::operands(std::vector<std::string>& several, std::string what, std::string help,
                         bool required) {
  const auto* option = parser_->app.add_option(what, several, std::move(help))->type_name("");
  if (required) parser_->required.emplace_back(std::move(what), option);
}

std::optional<Exit> Arguments::parse(std::span<char* const> arguments, Console& console) {
  std::string wrong;
  try {
    parser_->app.parse(std::vector<std::string>(arguments.rbegin(), arguments.rend()));
    wrong = parser_->complaint();
  } catch (const CLI::CallForHelp&) {
    console.print(parser_->app.help());
    return Exit::success;
  } catch (const CLI::Error& error) {
    wrong = error.what();
  }
  if (wrong.empty()) return std::nullopt;
  console.complain(fmt::format("{}{}: see '{} --help'",
                               called_as() == Program::qemu_io ? "" : parser_->verb + ": ", wrong,
                               invocation(parser_->verb)));
  return Exit::failed;
}

ReadSize read_size(std::string_view text) {
  constexpr ReadSize malformed{.status = SizeStatus::malformed};
  constexpr ReadSize too_large{.status = SizeStatus::too_large};
  std::uint64_t whole = 0;
  const char* const end = text.data() + text.size();
  if (text.starts_with("0x") || text.starts_with("0X")) {
    const auto [stop, error] = std::from_chars(text.data() + 2, end, whole, 16);
    if (error == std::errc::invalid_argument || stop != end) return malformed;
    return error == std::errc{} ? ReadSize{.bytes = whole} : too_large;
  }
  // A whole number is taken exactly; only a fraction goes through floating point.
  const auto [stop, error] = std::from_chars(text.data(), end, whole);
  double value = 0;
  const auto [float_stop, float_error] = std::from_chars(text.data(), end, value, std::chars_format::fixed);
  if (error == std::errc::invalid_argument || float_error != std::errc{} || value < 0) return malformed;
  const bool fraction = value != std::floor(value) && float_stop != stop;
  const std::string_view suffix(float_stop, static_cast<std::size_t>(end - float_stop));
  if (suffix.size() > 1) return malformed;
  unsigned shift = 0;
  if (!suffix.empty()) {
    constexpr std::string_view suffixes = "bkmgtpe";
    const char letter =
        suffix[0] >= 'A' && suffix[0] <= 'Z' ? static_cast<char>(suffix[0] - 'A' + 'a') : suffix[0];
    const auto power = suffixes.find(letter);
    if (power == std::string_view::npos) return malformed;
    shift = 10 * static_cast<unsigned>(power);
  }
  if (fraction && shift == 0) return malformed;  // there is no part of a byte
  if (error != std::errc{}) return too_large;
  if (!fraction) return whole > (UINT64_MAX >> shift) ? too_large : ReadSize{.bytes = whole << shift};
  const double bytes = std::floor(std::ldexp(value, static_cast<int>(shift)));
  return bytes >= 0x1p63 ? too_large : ReadSize{.bytes = static_cast<std::uint64_t>(bytes)};
}

std::optional<std::uint64_t> parse_size(std::string_view text) {
  const auto size = read_size(text);
  return size.status == SizeStatus::good ? std::optional(size.bytes) : std::nullopt;
}

namespace {

// Insertions, deletions and replacements that turn one word into the other.
std::size_t distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t replaced = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, replaced});
    }
  }
  return row[b.size()];
}

}  // namespace

std::string_view nearest(std::string_view word, std::span<const std::string_view> candidates) {
  // At most every third letter may be wrong, or two neighbours changed places; the dashes are no letters.
  const auto letters = [](std::string_view text) {
    return text.size() - std::min(text.find_first_not_of('-'), text.size());
  };
  std::string_view best;
  std::size_t least = std::max<std::size_t>(letters(word) / 3, letters(word) > 3 ? 2 : 1) + 1;
  for (const auto candidate : candidates) {
    if (const auto d = distance(word, candidate); d < least && d < letters(candidate)) {
      least = d;
      best = candidate;
    }
  }
  return best;
}

}  // namespace cowvet::cli
