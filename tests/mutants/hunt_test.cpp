// What the mutants are hunted with, beside the engine's crash tests: the flat model, with a fixed seed.
#include <iostream>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "model/generate.hpp"

namespace cowvet::model {
namespace {

class Hunt : public testing::TestWithParam<Profile> {};

TEST_P(Hunt, WithTheModel) {
  const Examination how{.check_every = 4};
  const auto done = search({.seed = 11,
                            .operations = GetParam() == Profile::chains ? 2000U : 20000U,
                            .most_shrinks = 0,
                            .wishes = {.profile = GetParam(), .largest_cluster = 65536}},
                           [&](const Sequence& sequence) { return examine(sequence, how); });
  if (done.disagreement)
    FAIL() << fmt::format("{} after {} operations: {}", name_of(done.disagreement->oracle), done.operations,
                          done.disagreement->what);
  std::cout << fmt::format("nothing after {} operations\n", done.operations);
}

INSTANTIATE_TEST_SUITE_P(With, Hunt, testing::Values(Profile::chains, Profile::all), [](const auto& tested) {
  return std::string(tested.param == Profile::chains ? "chains" : "all");
});

}  // namespace
}  // namespace cowvet::model
