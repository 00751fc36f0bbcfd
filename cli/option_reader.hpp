// Words of `-o key=value,...` as values. Promises: the first word that makes no sense is the error, with what
// is expected in its place; what was not given keeps the value it had.
#pragma once
#include <charconv>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "base/result.hpp"

namespace cowvet::cli {

// By name; of several values of one name the last one counts.
using OptionWords = std::map<std::string, std::string>;

// "a=1,b=x,,y" as pairs; a doubled comma stands for a comma, a word without '=' for "on".
[[nodiscard]] std::vector<std::pair<std::string, std::string>> split_options(std::string_view text);

class OptionReader {
 public:
  explicit OptionReader(const OptionWords& words) : words_(words) {}

  void text(const char* name, std::string& value);
  void text(const char* name, std::optional<std::string>& value);
  void flag(const char* name, bool& value);
  void flag(const char* name, std::optional<bool>& value);
  void size(const char* name, std::uint64_t& value);
  void size(const char* name, std::optional<std::uint64_t>& value);
  template <class Number>
  void number(const char* name, Number& value) {
    const auto* const word = find(name);
    if (word == nullptr) return;
    const char* const end = word->data() + word->size();
    const auto [stop, error] = std::from_chars(word->data(), end, value);
    if (error != std::errc{} || stop != end) wrong(name, *word, "a number");
  }
  template <class Number>
  void number(const char* name, std::optional<Number>& value) {
    if (find(name) == nullptr) return;
    Number known{};
    number(name, known);
    value = known;
  }
  template <class Value>
    requires std::is_trivial_v<Value>
  void choice(const char* name, Value& value,
              std::initializer_list<std::pair<std::string_view, Value>> choices) {
    const auto* const word = find(name);
    if (word == nullptr) return;
    std::string known;
    for (const auto& [spelled, meaning] : choices) {
      known += (known.empty() ? "" : ", ") + std::string(spelled);
      if (spelled != *word) continue;
      value = meaning;
      return;
    }
    wrong(name, *word, "one of " + known);
  }
  template <class Value>
  void choice(const char* name, std::optional<Value>& value,
              std::initializer_list<std::pair<std::string_view, Value>> choices) {
    if (find(name) == nullptr) return;
    Value known{};
    choice(name, known, choices);
    value = known;
  }
  [[nodiscard]] const std::optional<base::Error>& error() const { return error_; }

 private:
  [[nodiscard]] const std::string* find(const char* name) const;
  void wrong(const char* name, const std::string& word, const std::string& expected);

  const OptionWords& words_;
  std::optional<base::Error> error_;
};

}  // namespace cowvet::cli
