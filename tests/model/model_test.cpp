// The engine against the flat model: generated sequences, each operation compared. 12 000 operations, of all
// kinds and on trees of images above all; a million with COWVET_LONG=1, others with COWVET_SEED=N.
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

void expect_agreement(Profile profile, std::uint64_t operations, std::uint64_t many) {
  const auto done = search({.seed = number("COWVET_SEED", 1),
                            .operations = number("COWVET_LONG", 0) == 1 ? many : operations,
                            .wishes = {.profile = profile}},
                           [](const Sequence& sequence) { return examine(sequence, {}); });
  std::cout << fmt::format("{} operations in {} sequences, over {} combinations of options:", done.operations,
                           done.sequences, done.options.size());
  for (std::size_t i = 0; i < done.kinds.size(); ++i)
    std::cout << fmt::format(" {} {}", done.kinds[i], kind_names[i]);
  std::cout << '\n';
  if (done.disagreement)
    FAIL() << name_of(done.disagreement->oracle) << ": " << done.disagreement->what << "\n" << done.script;
  EXPECT_GE(done.options.size(), 60U);
}

TEST(Model, AgreesWithTheEngineAfterEveryOperation) { expect_agreement(Profile::all, 8'000, 700'000); }

TEST(Model, AgreesWithTheEngineAboutTreesOfImages) { expect_agreement(Profile::chains, 4'000, 300'000); }

// The fuzzer's: counts of one bit refuse the snapshot, whose note is taken back when the image is opened again.
TEST(Model, KnowsThatUsingAnImageAgainMayWriteToIt) {
  const Setting narrow{.size = 8192, .cluster_size = 512, .refcount_bits = 1};
  const Setting plain{.size = 8192, .cluster_size = 512};
  const Sequence sequence{.first = narrow,
                          .operations = {Write{{0, 4096}, {}}, CreateSnapshot{}, AddOverlay{plain, 0}, Pull{},
                                         Use{0}, Write{{0, 512}, {}}}};
  const auto outcome = examine(sequence, {});
  EXPECT_EQ(outcome.operations, 6U);
  if (outcome.disagreement) FAIL() << outcome.disagreement->what;
}

}  // namespace
}  // namespace cowvet::model
