// From a recipe's text to an image: what is in it, what is damaged, what a check must find. docs/recipes.md describes
// the language. Promises: the same text gives the same bytes; a mistake in a recipe is an error that names
// file and line and says what to write instead.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.hpp"
#include "corpus/builder/image.hpp"

namespace cowvet::corpus {

// A rule that a check of the image must report.
struct Expectation {
  std::string rule;                     // "refcount/leak"
  std::optional<std::uint64_t> offset;  // the host offset that a finding must name, if the recipe says so
  bool deep = false;                    // with --deep only
  std::uint32_t line = 0;               // of the recipe
};

// An image with its damage done, and what is to be found in it: exactly the rules in `expected`, no others.
struct BuiltImage : Built {
  std::string title;  // the recipe's comment at the top, in one line
  std::vector<Expectation> expected;
  std::optional<int> exit;  // of `cowvet check`, when the recipe says it
};

// `name` stands for the recipe in errors.
[[nodiscard]] base::Result<BuiltImage> build(std::string_view recipe, std::string_view name = "recipe");

// Saves the image, and its data file beside it when it has one and the name is a plain one.
[[nodiscard]] base::Result<void> save(const BuiltImage& image, const std::string& path);

}  // namespace cowvet::corpus
