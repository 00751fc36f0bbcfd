#include "corpus/builder/scanner.hpp"

#include <algorithm>
#include <charconv>
#include <set>

#include <fmt/format.h>

#include "corpus/builder/path.hpp"

namespace cowvet::corpus {
namespace {

bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }
bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_word(char c) { return is_letter(c) || is_digit(c); }

std::optional<std::uint32_t> hex_digit(char c) {
  if (is_digit(c)) return static_cast<std::uint32_t>(c - '0');
  if (c >= 'a' && c <= 'f') return static_cast<std::uint32_t>(c - 'a' + 10);
  if (c >= 'A' && c <= 'F') return static_cast<std::uint32_t>(c - 'A' + 10);
  return std::nullopt;
}

}  // namespace

void Scanner::skip_space() {
  while (!rest_.empty() && (rest_.front() == ' ' || rest_.front() == '\t' || rest_.front() == '\r'))
    rest_.remove_prefix(1);
}

std::string_view Scanner::peek_word() const {
  if (rest_.empty() || !is_letter(rest_.front())) return {};
  std::size_t n = 0;
  while (n < rest_.size() && is_word(rest_[n])) ++n;
  return rest_.substr(0, n);
}

bool Scanner::accept(std::string_view token) {
  const bool matches = is_letter(token.front()) ? peek_word() == token : rest_.starts_with(token);
  if (!matches) return false;
  rest_.remove_prefix(token.size());
  skip_space();
  return true;
}

void Scanner::expect(std::string_view token) {
  if (!accept(token)) throw Complaint{fmt::format("'{}' is missing before '{}'", token, rest_)};
}

void Scanner::expect_end() const {
  if (!at_end()) throw Complaint{fmt::format("nothing can follow here, but '{}' does", rest_)};
}

std::string Scanner::word(std::string_view what) {
  std::string found{peek_word()};
  if (found.empty())
    throw Complaint{
        fmt::format("{} is missing{}", what, rest_.empty() ? "" : fmt::format(" before '{}'", rest_))};
  rest_.remove_prefix(found.size());
  skip_space();
  return found;
}

bool Scanner::bytes_follow() const { return rest_.starts_with('"') || peek_word() == "hex"; }

std::vector<std::byte> Scanner::bytes() {
  std::vector<std::byte> out;
  if (accept("hex")) {
    for (; !rest_.empty(); skip_space()) {
      const auto high = hex_digit(rest_[0]);
      const auto low = rest_.size() > 1 ? hex_digit(rest_[1]) : std::nullopt;
      if (!high || !low) break;
      out.push_back(static_cast<std::byte>(*high << 4 | *low));
      rest_.remove_prefix(2);
    }
    if (out.empty()) throw Complaint{"hex is followed by pairs of hexadecimal digits: hex 00 1f ff"};
    return out;
  }
  if (!rest_.starts_with('"'))
    throw Complaint{fmt::format("a \"text\" or hex 00 11 is missing before '{}'", rest_)};
  std::size_t i = 1;
  auto next = [&] {
    if (i >= rest_.size()) throw Complaint{"the text has no closing \""};
    return rest_[i++];
  };
  for (char c = next(); c != '"'; c = next()) {
    if (c == '\\') {
      c = next();
      if (c == 'n') c = '\n';
      if (c == '0') c = '\0';
      if (c == 'x') {
        const auto high = hex_digit(next());
        const auto low = hex_digit(next());
        if (!high || !low) throw Complaint{"\\x is followed by two hexadecimal digits"};
        c = static_cast<char>(*high << 4 | *low);
      }
    }
    out.push_back(static_cast<std::byte>(c));
  }
  rest_.remove_prefix(i);
  skip_space();
  return out;
}

std::string Scanner::text() {
  std::string out;
  if (bytes_follow()) {
    for (auto b : bytes()) out.push_back(static_cast<char>(b));
    return out;
  }
  const auto plain = [](char c) { return is_word(c) || c == '.' || c == '-' || c == '/'; };
  while (!rest_.empty() && plain(rest_.front())) {
    out.push_back(rest_.front());
    rest_.remove_prefix(1);
  }
  if (out.empty()) throw Complaint{fmt::format("a name or a \"text\" is missing before '{}'", rest_)};
  skip_space();
  return out;
}

std::string Scanner::rule() {
  const auto end = std::ranges::find_if(rest_, [](char c) { return c == ',' || c == ' ' || c == '\t'; });
  std::string id(rest_.begin(), end);
  const auto slash = id.find('/');
  const bool sound = slash != 0 && slash + 1 < id.size() && std::ranges::count(id, '/') == 1 &&
                     std::ranges::all_of(id, [](char c) { return is_word(c) || c == '-' || c == '/'; });
  if (!sound) throw Complaint{fmt::format("'{}' is no rule; write area/name, such as refcount/leak", id)};
  rest_.remove_prefix(id.size());
  skip_space();
  return id;
}

std::string Scanner::until(std::string_view delimiter) {
  std::string out{rest_.substr(0, rest_.find(delimiter))};
  rest_.remove_prefix(out.size());
  return out;
}

std::vector<GuestRange> Scanner::ranges() {
  std::vector<GuestRange> list;
  do {
    const std::uint64_t first = number();
    list.push_back({first, accept("..") ? number() : first});
  } while (accept(","));
  return list;
}

// Decimal or 0x hexadecimal, with a unit K, M, G, T, P or E.
std::uint64_t Scanner::literal() {
  const bool hex = rest_.starts_with("0x");
  std::uint64_t value = 0;
  const char* begin = rest_.data() + (hex ? 2 : 0);
  const auto [end, error] = std::from_chars(begin, rest_.data() + rest_.size(), value, hex ? 16 : 10);
  if (error != std::errc{})
    throw Complaint{fmt::format("'{}' is no number, or one that needs more than 64 bits", rest_)};
  rest_.remove_prefix(static_cast<std::size_t>(end - rest_.data()));
  if (!rest_.empty()) {
    constexpr std::string_view units = "KMGTPE";
    if (const auto unit = units.find(rest_.front()); unit != std::string_view::npos) {
      value <<= 10 * (unit + 1);
      rest_.remove_prefix(1);
    }
  }
  if (!rest_.empty() && is_word(rest_.front()))
    throw Complaint{fmt::format("a number can't be followed by '{}'; units are K, M, G, T, P and E", rest_)};
  skip_space();
  return value;
}

Index Scanner::index() {
  const auto name = peek_word();
  const auto after = rest_.substr(name.size());
  // A lone word is a name: ext[bitmaps].
  if (!name.empty() && after.find_first_not_of(" \t") == after.find(']')) return {word("a name"), 0, false};
  const Value v = expression();
  return {{}, v.number, v.address};
}

Path Scanner::path() {
  Path path;
  do {
    Step step{word("a structure's or field's name"), {}};
    while (accept("[")) {
      step.indices.push_back(index());
      expect("]");
    }
    path.push_back(std::move(step));
  } while (!rest_.starts_with("..") && accept("."));
  return path;
}

Value Scanner::primary() {
  if (!rest_.empty() && is_digit(rest_.front())) return {literal(), false, {}};
  if (accept("(")) {
    Value v = expression();
    expect(")");
    v.length.reset();
    return v;
  }
  const bool address = accept("@");
  if (peek_word().empty())
    throw Complaint{
        fmt::format("a number is missing{}", rest_.empty() ? "" : fmt::format(" before '{}'", rest_))};
  if (!address && (peek_word() == "yes" || peek_word() == "no"))
    throw Complaint{fmt::format("a number is missing before '{}'", rest_)};
  if (scene_.layout == nullptr)
    throw Complaint{fmt::format("'{}' is known below damage: only; write a number", rest_)};
  if (accept("end")) return {scene_.file->size(), true, {}};
  if (accept("cluster_size")) return {scene_.layout->geometry.cluster_size(), false, {}};
  if (accept("cluster")) {
    const std::uint64_t cs = scene_.layout->geometry.cluster_size();
    return {unary().number * cs, true, cs};
  }
  const Place place = resolve(*scene_.layout, path());
  if (address) return {place.offset, true, place.length};
  return {load(*scene_.file, place), false, {}};
}

Value Scanner::unary() {
  if (accept("-")) return {0 - unary().number, false, {}};
  if (accept("~")) return {~unary().number, false, {}};
  return primary();
}

Value Scanner::product() {
  Value v = unary();
  while (true) {
    std::uint64_t (*combine)(std::uint64_t, std::uint64_t) = nullptr;
    if (accept("*"))
      combine = [](std::uint64_t a, std::uint64_t b) { return a * b; };
    else if (accept("/"))
      combine = [](std::uint64_t a, std::uint64_t b) { return b == 0 ? 0 : a / b; };
    else if (accept("%"))
      combine = [](std::uint64_t a, std::uint64_t b) { return b == 0 ? 0 : a % b; };
    else if (accept("<<"))
      combine = [](std::uint64_t a, std::uint64_t b) { return b > 63 ? 0 : a << b; };
    else if (accept(">>"))
      combine = [](std::uint64_t a, std::uint64_t b) { return b > 63 ? 0 : a >> b; };
    else if (accept("&"))
      combine = [](std::uint64_t a, std::uint64_t b) { return a & b; };
    else
      return v;
    v = {combine(v.number, unary().number), false, {}};
  }
}

Value Scanner::expression() {
  Value v = product();
  while (true) {
    if (accept("+")) {
      const Value w = product();
      v = {v.number + w.number, v.address || w.address, {}};
    } else if (accept("-")) {
      const Value w = product();
      v = {v.number - w.number, v.address && !w.address, {}};
    } else if (accept("|")) {
      v = {v.number | product().number, false, {}};
    } else {
      return v;
    }
  }
}

void read_options(Scanner& line, std::string_view verb, const std::vector<Option>& options) {
  std::set<std::string_view> seen;
  while (!line.at_end()) {
    const std::string name = line.word("an option");
    const auto found = std::ranges::find(options, std::string_view(name), &Option::name);
    if (found == options.end())
      throw Complaint{fmt::format("'{}' has no option '{}'; there are {}", verb, name,
                                  enumerate(options, &Option::name))};
    if (!seen.insert(found->name).second) throw Complaint{fmt::format("option '{}' is given twice", name)};
    if (found->flag != nullptr) {
      *found->flag = true;
      if (line.accept("=")) {
        *found->flag = line.accept("yes");
        if (!*found->flag) line.expect("no");
      }
    } else {
      line.expect("=");
      found->take(line);
    }
  }
}

std::string enumerate(const std::vector<std::string_view>& names) {
  std::string out;
  for (std::size_t i = 0; i < names.size(); ++i) {
    if (i != 0) out += i + 1 == names.size() ? " and " : ", ";
    out += names[i];
  }
  return out;
}

}  // namespace cowvet::corpus
