#include "analyzer/json_name.hpp"

#include <algorithm>
#include <cstdint>
#include <utility>

namespace cowvet::analyzer {

namespace {

constexpr int deepest = 64;  // QEMU's own drivers nest a handful

using JsonOptions = std::map<std::string, std::string>;

// Appends a code point as UTF-8; half of a surrogate pair stands for nothing.
bool append(std::string& text, std::uint32_t code) {
  if (code >= 0xD800 && code < 0xE000) return false;
  const auto byte = [&](std::uint32_t value) { text.push_back(static_cast<char>(value)); };
  if (code < 0x80) {
    byte(code);
  } else if (code < 0x800) {
    byte(0xC0 | code >> 6);
    byte(0x80 | (code & 0x3F));
  } else if (code < 0x10000) {
    byte(0xE0 | code >> 12);
    byte(0x80 | (code >> 6 & 0x3F));
    byte(0x80 | (code & 0x3F));
  } else {
    byte(0xF0 | code >> 18);
    byte(0x80 | (code >> 12 & 0x3F));
    byte(0x80 | (code >> 6 & 0x3F));
    byte(0x80 | (code & 0x3F));
  }
  return true;
}

class JsonReader {
 public:
  JsonReader(std::string_view text, JsonOptions& into) : rest_(text), into_(into) {}
  bool all() { return value("", 0) && (space(), rest_.empty()); }

 private:
  void space() { rest_.remove_prefix(std::min(rest_.find_first_not_of(" \t\r\n"), rest_.size())); }
  bool take(char c) {
    space();
    if (!rest_.starts_with(c)) return false;
    rest_.remove_prefix(1);
    return true;
  }
  std::optional<std::uint32_t> unit() {  // the four digits of \uXXXX
    if (rest_.size() < 4) return std::nullopt;
    std::uint32_t code = 0;
    for (const char c : rest_.substr(0, 4)) {
      const char lower = static_cast<char>(c | 0x20);
      if (c >= '0' && c <= '9')
        code = code << 4 | static_cast<std::uint32_t>(c - '0');
      else if (lower >= 'a' && lower <= 'f')
        code = code << 4 | static_cast<std::uint32_t>(lower - 'a' + 10);
      else
        return std::nullopt;
    }
    rest_.remove_prefix(4);
    return code;
  }
  bool escaped(std::string& text) {
    if (rest_.empty()) return false;
    const char c = rest_.front();
    rest_.remove_prefix(1);
    if (c != 'u') {
      constexpr std::string_view names = "\"\\/bfnrt'", means = "\"\\/\b\f\n\r\t'";
      const auto at = names.find(c);
      if (at != std::string_view::npos) text.push_back(means[at]);
      return at != std::string_view::npos;
    }
    auto code = unit();
    if (code && *code >= 0xD800 && *code < 0xDC00 && rest_.starts_with("\\u")) {
      rest_.remove_prefix(2);
      const auto low = unit();
      if (!low || *low < 0xDC00 || *low >= 0xE000) return false;
      code = 0x10000 + ((*code - 0xD800) << 10) + (*low - 0xDC00);
    }
    return code && append(text, *code);
  }
  // QEMU takes single quotes as well.
  std::optional<std::string> string() {
    space();
    if (rest_.empty() || (rest_.front() != '"' && rest_.front() != '\'')) return std::nullopt;
    const char quote = rest_.front();
    rest_.remove_prefix(1);
    std::string text;
    while (!rest_.empty()) {
      const char c = rest_.front();
      rest_.remove_prefix(1);
      if (c == quote) return text;
      if (c != '\\')
        text.push_back(c);
      else if (!escaped(text))
        return std::nullopt;
    }
    return std::nullopt;
  }
  bool value(const std::string& key, int depth) {
    if (depth > deepest) return false;
    space();
    if (rest_.starts_with('{') || rest_.starts_with('[')) return members(key, depth);
    if (auto text = string()) {
      into_[key] = '"' + *text;
      return true;
    }
    const auto length = std::min(rest_.find_first_of(",]} \t\r\n"), rest_.size());
    const auto word = rest_.substr(0, length);
    const bool number = !word.empty() && word.find_first_not_of("0123456789+-.eE") == std::string_view::npos;
    if (word != "true" && word != "false" && word != "null" && !number) return false;
    into_[key] = word;
    rest_.remove_prefix(length);
    return true;
  }
  // Of an object or an array.
  bool members(const std::string& key, int depth) {
    const bool object = rest_.front() == '{';
    const char close = object ? '}' : ']';
    rest_.remove_prefix(1);
    const std::string prefix = key.empty() ? "" : key + '.';
    if (take(close)) return true;
    for (std::size_t i = 0;; ++i) {
      auto name = object ? string() : std::optional(std::to_string(i));
      if (!name || (object && !take(':')) || !value(prefix + *name, depth + 1)) return false;
      if (take(close)) return true;
      if (!take(',')) return false;
    }
  }

  std::string_view rest_;
  JsonOptions& into_;
};

}  // namespace

std::optional<JsonOptions> flatten_json(std::string_view text) {
  JsonOptions options;
  const auto begin = text.find_first_not_of(" \t\r\n");
  if (begin == std::string_view::npos || text[begin] != '{' || !JsonReader(text, options).all())
    return std::nullopt;
  return options;
}

std::optional<JsonFile> json_file(std::string_view name) {
  if (!name.starts_with("json:")) return std::nullopt;
  auto options = flatten_json(name.substr(5));
  if (!options) return std::nullopt;
  // Takes an option out; strings only.
  const auto take = [&](const char* key) -> std::optional<std::string> {
    const auto at = options->find(key);
    if (at == options->end() || !at->second.starts_with('"')) return std::nullopt;
    auto text = at->second.substr(1);
    options->erase(at);
    return text;
  };
  JsonFile found;
  auto driver = take("driver");
  std::optional<std::string> file;
  if (driver && *driver == "file") {
    file = take("filename");
  } else {
    if (driver && *driver != "qcow2" && *driver != "raw") return std::nullopt;
    found.format = driver.value_or("");
    const auto protocol = take("file.driver");
    found.no_folder = protocol == "quorum" || protocol == "blkverify";
    if (found.no_folder) {
      auto first = take(*protocol == "quorum" ? "file.children.0.filename" : "file.raw.filename");
      if (!first) return std::nullopt;
      found.file = std::move(*first);
      return found;
    }
    if (protocol && *protocol != "file" && *protocol != "host_device") return std::nullopt;
    file = take("file.filename");
  }
  if (!file) return std::nullopt;
  found.file = std::move(*file);
  if (const auto backing = options->find("backing"); backing != options->end()) {
    if (backing->second != "null") return std::nullopt;
    found.no_backing = true;
    options->erase(backing);
  }
  if (!options->empty()) return std::nullopt;
  return found;
}

}  // namespace cowvet::analyzer
