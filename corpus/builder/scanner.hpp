// Reads one line of a recipe: words, numbers, texts, ranges, expressions and paths. Promises: what is wrong with the
// line is said for the person who wrote it, with what to write instead. Complaints are thrown, and caught in
// recipe.cpp, which adds file and line: none leaves the builder.
#pragma once
#include <algorithm>
#include <cstdint>
#include <functional>
#include <iterator>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "corpus/builder/image.hpp"
#include "corpus/builder/layout.hpp"

namespace cowvet::corpus {

struct Complaint {
  std::string message;
};

// The built image that an expression may speak of. Without one, only numbers are at hand.
struct Scene {
  const Layout* layout = nullptr;
  const SparseBytes* file = nullptr;  // with the damage so far
};

// An index in brackets: a word ("bitmaps") or a value.
struct Index {
  std::string word;
  std::uint64_t value = 0;
  bool address = false;  // the value is a byte position
};
// "snapshot[0].l1[2].offset" is three steps.
struct Step {
  std::string name;
  std::vector<Index> indices;
};
using Path = std::vector<Step>;

// What an expression amounts to. Arithmetic is that of 64-bit words.
struct Value {
  std::uint64_t number = 0;
  bool address = false;  // a byte position in the file
  std::optional<std::uint64_t>
      length;  // of the structure, when the expression is nothing but a structure's address
};

class Scanner {
 public:
  explicit Scanner(std::string_view line, Scene scene = {}) : rest_(line), scene_(scene) { skip_space(); }

  [[nodiscard]] bool at_end() const { return rest_.empty(); }
  [[nodiscard]] std::string_view rest() const { return rest_; }
  [[nodiscard]] const Scene& scene() const { return scene_; }
  // Takes `token` if it comes next; a token of letters only as a whole word.
  bool accept(std::string_view token);
  void expect(std::string_view token);
  void expect_end() const;

  // Letters, digits and _, starting with a letter.
  std::string word(std::string_view what);
  // A "text" in quotes with \n, \0, \\, \" and \xHH, or `hex 00 11 22`.
  std::vector<std::byte> bytes();
  [[nodiscard]] bool bytes_follow() const;
  // The same as text, or a plain name of letters, digits and _.-/ without quotes.
  std::string text();
  std::string rule();                             // area/name, as in docs/rules.md
  std::string until(std::string_view delimiter);  // the text up to a delimiter or the end
  // 0..3,7
  std::vector<GuestRange> ranges();
  // See docs/recipes.md for the operators.
  Value expression();
  std::uint64_t number() { return expression().number; }
  Path path();

 private:
  void skip_space();
  std::string_view peek_word() const;
  Value product();
  Value unary();
  Value primary();
  std::uint64_t literal();
  Index index();

  std::string_view rest_;
  Scene scene_;
};

// "key=value" pairs and bare flags up to the line's end, in any order, each at most once.
struct Option {
  std::string_view name;
  std::function<void(Scanner&)> take;  // reads the value; for a flag, empty
  bool* flag = nullptr;                // set by the bare name, or by name=yes and name=no
};
void read_options(Scanner& line, std::string_view verb, const std::vector<Option>& options);

// "a, b and c", for complaints.
[[nodiscard]] std::string enumerate(const std::vector<std::string_view>& names);
template <class Range, class Name>
[[nodiscard]] std::string enumerate(const Range& list, Name name) {
  std::vector<std::string_view> names(std::size(list));
  std::ranges::transform(list, names.begin(), name);
  return enumerate(names);
}

}  // namespace cowvet::corpus
