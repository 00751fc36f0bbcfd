// Several files that belong together, from one text: images by their recipes, and what lies around them.
// docs/recipes.md describes the language. Promises: a mistake is an error that names file and line.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.hpp"
#include "corpus/builder/recipe.hpp"

namespace cowvet::corpus {

struct BuiltSet {
  struct File {
    std::string name;
    BuiltImage image;
  };
  struct Expected {
    std::string rule, file;
    auto operator<=>(const Expected&) const = default;
  };
  std::string title;
  std::vector<std::pair<std::string, std::vector<std::byte>>> raw;  // name and content
  std::vector<std::string> folders, pipes;
  std::vector<std::pair<std::string, std::string>> links;      // name and what it leads to
  std::vector<File> files;                                     // images, in order
  std::vector<std::pair<std::string, std::int64_t>> modified;  // name and seconds from now
  std::vector<std::string> locked;                             // held by a writer
  std::vector<std::string> given;    // what the chain is asked for; every image otherwise
  std::vector<std::string> libvirt;  // what is given to --libvirt
  bool follow_json = false, recursive = false;
  std::optional<std::uint64_t> deepest;
  std::vector<Expected> expected;  // rules of the chain, each on the file that has the finding
};

[[nodiscard]] base::Result<BuiltSet> build_set(std::string_view text, std::string_view name = "set");

// Writes everything but locks into the folder, and sets times.
[[nodiscard]] base::Result<void> save_set(const BuiltSet& set, const std::string& folder);

}  // namespace cowvet::corpus
