// An image made from a recipe, and what the checks of its first cluster make of it, without the walk that follows.
#pragma once
#include <optional>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>

#include "analyzer/image.hpp"
#include "corpus/builder/recipe.hpp"
#include "storage/memory.hpp"

namespace cowvet::analyzer {

inline std::vector<std::byte> bytes_of(std::string_view recipe) {
  const auto built = corpus::build(recipe);
  EXPECT_TRUE(built) << (built ? "" : built.error().message);
  return built ? built->file.bytes() : std::vector<std::byte>{};
}

class Examined {
 public:
  explicit Examined(const storage::Device& device) : image(device, options_, collector_, progress_) {
    image.eof = device.size();
    check_header(image);
    check_extensions(image);
    check_backing(image);
    findings = collector_.take_sorted();
  }

  // The findings of a rule, in order.
  [[nodiscard]] std::vector<findings::Finding> of(findings::RuleId rule) const {
    std::vector<findings::Finding> list;
    for (const auto& finding : findings)
      if (finding.rule == rule) list.push_back(finding);
    return list;
  }
  // The only finding of a rule.
  [[nodiscard]] findings::Finding only(findings::RuleId rule) const {
    const auto list = of(rule);
    EXPECT_EQ(list.size(), 1U) << rule->name;
    return list.empty() ? findings::Finding{rule} : list.front();
  }
  [[nodiscard]] const Region* region(Kind kind) const {
    for (const auto& one : image.regions)
      if (one.kind == kind) return &one;
    return nullptr;
  }

 private:
  Options options_;
  findings::Collector collector_{10'000};
  base::Progress progress_;

 public:
  Image image;
  std::vector<findings::Finding> findings;
};

// The same for a recipe's image, which it keeps.
struct RecipeDevice {
  storage::MemoryDevice device;
};
struct ExaminedRecipe : private RecipeDevice, public Examined {
  explicit ExaminedRecipe(std::string_view recipe)
      : RecipeDevice(storage::MemoryDevice(bytes_of(recipe))), Examined(RecipeDevice::device) {}
};

}  // namespace cowvet::analyzer
