// The engine against the flat model: generated sequences, each operation compared. 10 000 operations; a million with
// COWVET_LONG=1, others with COWVET_SEED=N.
#include <cstdlib>
#include <iostream>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "model/generate.hpp"

namespace cowvet::model {
namespace {

std::uint64_t number(const char* variable, std::uint64_t otherwise) {
  const char* text = std::getenv(variable);
  return text != nullptr ? std::strtoull(text, nullptr, 10) : otherwise;
}

TEST(Model, AgreesWithTheEngineAfterEveryOperation) {
  const auto done = search(
      {.seed = number("COWVET_SEED", 1), .operations = number("COWVET_LONG", 0) == 1 ? 1'000'000U : 10'000U},
      [](const Sequence& sequence) { return examine(sequence, {}); });
  std::cout << fmt::format("{} operations in {} sequences, over {} combinations of options\n",
                           done.operations, done.sequences, done.options.size());
  if (done.disagreement)
    FAIL() << name_of(done.disagreement->oracle) << ": " << done.disagreement->what << "\n" << done.script;
  EXPECT_GE(done.options.size(), 60U);
}

}  // namespace
}  // namespace cowvet::model
