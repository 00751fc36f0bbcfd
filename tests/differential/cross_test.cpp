// Generated sequences of operations done by the engine and read by the installed QEMU, as the model says; and done as
// scripts by cowvet's own verbs, under its name and under QEMU's. (By QEMU: model_test.py.) Prints how much was tried.
#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <string_view>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "cli/workshop.hpp"
#include "model/generate.hpp"
#include "model/peer.hpp"
#include "tests/storage/temporary.hpp"

namespace cowvet::model {
namespace {

bool long_run() {
  const char* wanted = std::getenv("COWVET_LONG");
  return wanted != nullptr && std::string_view(wanted) == "1";
}

// The program as it is shipped, when tools/test names it: it starts at once. Otherwise the one with sanitizers.
const char* shipped_program() {
  const char* const shipped = std::getenv("COWVET_SHIPPED");
  return shipped != nullptr && !long_run() ? shipped : std::getenv("COWVET");
}

class Cross : public testing::Test {
 protected:
  void SetUp() override {
    auto made = cli::Workshop::make();
    ASSERT_TRUE(made) << made.error().message;
    workshop_ = std::move(*made);
    const auto there = run("qemu-img --version && qemu-io --version");
    ASSERT_TRUE(there && !*there) << "qemu-img and qemu-io are missing (see tools/packages)";
  }
  base::Result<std::optional<std::string>> run(const std::string& line) {
    return workshop_->run(line, progress_, std::chrono::minutes(2));
  }
  Peer peer(const std::string& image, const std::string& io) {
    return Peer(workshop_->folder(), {.image = image, .io = io},
                [this](const std::string& line) { return run(line); });
  }
  static void expect_agreement(Search how, std::uint64_t times, const Try& attempt) {
    if (long_run()) how.operations *= times;
    const auto done = search(how, attempt);
    std::cout << fmt::format("{} operations in {} sequences, over {} combinations of options\n",
                             done.operations, done.sequences, done.options.size());
    if (done.error) FAIL() << done.error->message;
    if (done.disagreement)
      FAIL() << name_of(done.disagreement->oracle) << ": " << done.disagreement->what << "\n" << done.script;
  }
  void expect_read_by_qemu(Profile profile, std::uint64_t operations) {
    auto qemu = peer("qemu-img", "qemu-io");
    const Examination how{.check_every = 8, .peer = [&](const auto& files, const Model& model, bool leaks) {
                            return qemu.against(files, model, leaks);
                          }};
    expect_agreement({.seed = 6,
                      .operations = operations,
                      .most_shrinks = 200,
                      .wishes = {.profile = profile, .largest_cluster = 65536}},
                     15, [&](const Sequence& s) { return examine(s, how); });
  }
  void expect_written_by(const std::string& image, const std::string& io, const Search& how) {
    auto programs = peer(image, io);
    expect_agreement(how, 50, [&](const Sequence& s) { return programs.does(s, how.scope); });
  }

 private:
  std::unique_ptr<cli::Workshop> workshop_;
  const base::Progress progress_;
};

constexpr Wishes for_programs{.luks = false, .largest_cluster = 65536, .most_operations = 80};

TEST_F(Cross, WhatTheEngineWritesReadsInQemuAsTheModelSays) { expect_read_by_qemu(Profile::all, 1'200); }

TEST_F(Cross, TreesThatTheEngineChangesReadInQemuAsTheModelSays) {
  expect_read_by_qemu(Profile::chains, 600);
}

TEST_F(Cross, WhatTheVerbsWriteReadsAsTheModelSays) {
  const char* const cowvet = std::getenv("COWVET");
  ASSERT_NE(cowvet, nullptr);
  expect_written_by(
      cowvet, fmt::format("{} io", cowvet),
      {.seed = 7, .operations = 500, .most_shrinks = 60, .wishes = for_programs, .scope = Scope::verbs});
}

TEST_F(Cross, TreesThatTheVerbsChangeReadAsTheModelSays) {
  const char* const cowvet = shipped_program();
  ASSERT_NE(cowvet, nullptr);
  auto wishes = for_programs;
  wishes.profile = Profile::chains;
  expect_written_by(
      cowvet, fmt::format("{} io", cowvet),
      {.seed = 9, .operations = 300, .most_shrinks = 60, .wishes = wishes, .scope = Scope::verbs});
}

TEST_F(Cross, WhatTheVerbsWriteUnderTheNamesOfQemuReadsAsTheModelSays) {
  const char* const cowvet = shipped_program();
  ASSERT_NE(cowvet, nullptr);
  const tests::Folder links;
  for (const char* const name : {"qemu-img", "qemu-io"})
    std::filesystem::create_symlink(cowvet, links / name);
  expect_written_by(
      (links / "qemu-img").string(), (links / "qemu-io").string(),
      {.seed = 8, .operations = 300, .most_shrinks = 60, .wishes = for_programs, .scope = Scope::peer});
}

}  // namespace
}  // namespace cowvet::model
