#include "cli/option_reader.hpp"

#include <fmt/format.h>

#include "base/text.hpp"
#include "cli/arguments.hpp"

namespace cowvet::cli {

std::vector<std::pair<std::string, std::string>> split_options(std::string_view text) {
  std::vector<std::string> parts(1);
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != ',') {
      parts.back() += text[i];
    } else if (i + 1 < text.size() && text[i + 1] == ',') {
      parts.back() += text[i++];
    } else {
      parts.emplace_back();
    }
  }
  std::vector<std::pair<std::string, std::string>> pairs;
  for (const auto& part : parts) {
    if (part.empty()) continue;
    const auto mark = part.find('=');
    pairs.emplace_back(part.substr(0, mark), mark == std::string::npos ? "on" : part.substr(mark + 1));
  }
  return pairs;
}

const std::string* OptionReader::find(const char* name) const {
  const auto found = words_.find(name);
  return found == words_.end() ? nullptr : &found->second;
}

void OptionReader::wrong(const char* name, const std::string& word, const std::string& expected) {
  if (!error_)
    error_ = base::Error{base::ErrorKind::usage,
                         fmt::format("{}={} makes no sense: give {}", name, base::escape(word), expected)};
}

void OptionReader::text(const char* name, std::string& value) {
  if (const auto* word = find(name)) value = *word;
}

void OptionReader::text(const char* name, std::optional<std::string>& value) {
  if (const auto* word = find(name)) value = *word;
}

void OptionReader::flag(const char* name, bool& value) {
  const auto* const word = find(name);
  if (word == nullptr) return;
  value = *word == "on" || *word == "yes" || *word == "true" || *word == "y";
  if (!value && *word != "off" && *word != "no" && *word != "false" && *word != "n")
    wrong(name, *word, "on or off");
}

void OptionReader::flag(const char* name, std::optional<bool>& value) {
  if (find(name) == nullptr) return;
  bool known = false;
  flag(name, known);
  value = known;
}

void OptionReader::size(const char* name, std::uint64_t& value) {
  const auto* const word = find(name);
  if (word == nullptr) return;
  const auto bytes = parse_size(*word);
  if (!bytes) return wrong(name, *word, "a size such as 64k or 10G");
  value = *bytes;
}

void OptionReader::size(const char* name, std::optional<std::uint64_t>& value) {
  if (find(name) == nullptr) return;
  std::uint64_t known = 0;
  size(name, known);
  value = known;
}

}  // namespace cowvet::cli
