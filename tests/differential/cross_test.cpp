// Generated sequences of operations done by the engine and read by the installed QEMU, as the model says.
// (The other way round: model_test.py.) Prints how much was tried.
#include <cstdlib>
#include <iostream>
#include <string_view>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "cli/workshop.hpp"
#include "model/generate.hpp"
#include "model/peer.hpp"

namespace cowvet::model {
namespace {

bool long_run() {
  const char* wanted = std::getenv("COWVET_LONG");
  return wanted != nullptr && std::string_view(wanted) == "1";
}

void expect_agreement(Profile profile, std::uint64_t operations) {
  const auto workshop = cli::Workshop::make();
  ASSERT_TRUE(workshop) << workshop.error().message;
  const base::Progress progress;
  const Peer::Run run = [&](const std::string& line) {
    return (*workshop)->run(line, progress, std::chrono::minutes(2));
  };
  const auto there = run("qemu-img --version && qemu-io --version");
  ASSERT_TRUE(there && !*there) << "qemu-img and qemu-io are missing (see tools/packages)";
  Peer peer((*workshop)->folder(), {.image = "qemu-img", .io = "qemu-io"}, run);
  const Examination how{.check_every = 8, .peer = [&](const auto& files, const Model& model, bool leaks) {
                          return peer.against(files, model, leaks);
                        }};
  const auto done = search({.seed = 6,
                            .operations = long_run() ? 15 * operations : operations,
                            .most_shrinks = 200,
                            .wishes = {.profile = profile, .largest_cluster = 65536}},
                           [&](const Sequence& s) { return examine(s, how); });
  std::cout << fmt::format("{} operations in {} sequences, over {} combinations of options\n",
                           done.operations, done.sequences, done.options.size());
  if (done.disagreement)
    FAIL() << name_of(done.disagreement->oracle) << ": " << done.disagreement->what << "\n" << done.script;
}

TEST(Cross, WhatTheEngineWritesReadsInQemuAsTheModelSays) { expect_agreement(Profile::all, 1'200); }

TEST(Cross, TreesThatTheEngineChangesReadInQemuAsTheModelSays) { expect_agreement(Profile::chains, 600); }

}  // namespace
}  // namespace cowvet::model
