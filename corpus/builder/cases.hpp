// The recipes in the tree. Promises: sorted by path, each with what its place says about it.
#pragma once
#include <string>
#include <vector>

#include "base/result.hpp"
#include "corpus/builder/recipe.hpp"
#include "corpus/builder/set.hpp"

namespace cowvet::corpus {

// good/NAME.recipe, or AREA/RULE/NAME.recipe.
struct Case {
  std::string file;  // the recipe, to be opened
  std::string path;  // inside the corpus, without .recipe: "refcount/leak/one_cluster"
  std::string name;  // the last part
  std::string rule;  // "refcount/leak"; empty for a good image
};

// The corpus of the tree that this program was built from.
[[nodiscard]] std::string corpus_directory();
// All cases below a directory whose path contains `filter`; the sets are the files with this ending (set.hpp).
inline constexpr const char* set_ending = ".chain";
[[nodiscard]] std::vector<Case> list_cases(const std::string& directory, const std::string& filter = {},
                                           const std::string& ending = ".recipe");
[[nodiscard]] base::Result<BuiltImage> build_case(const Case& c);
[[nodiscard]] base::Result<BuiltSet> build_set_case(const Case& c);

}  // namespace cowvet::corpus
