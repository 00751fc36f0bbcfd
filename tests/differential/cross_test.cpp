// The same generated sequences of operations done by other programs and read by the engine, and the other way round:
// whoever wrote an image, everybody reads what the model says. The scripts are run with cowvet's own verbs as
// well, under its name and under QEMU's. Prints how much was tried.
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "engine/chain.hpp"
#include "model/compare.hpp"
#include "model/found.hpp"
#include "model/generate.hpp"
#include "model/script.hpp"
#include "storage/file.hpp"
#include "tests/storage/temporary.hpp"

namespace cowvet::model {
namespace {

namespace fs = std::filesystem;

bool long_run() {
  const char* wanted = std::getenv("COWVET_LONG");
  return wanted != nullptr && std::string_view(wanted) == "1";
}

std::vector<std::byte> bytes_of(const fs::path& file) {
  std::ifstream in(file, std::ios::binary);
  const std::string text((std::istreambuf_iterator<char>(in)), {});
  const auto* begin = reinterpret_cast<const std::byte*>(text.data());
  return {begin, begin + text.size()};
}

void write_file(const fs::path& file, base::ConstBytes bytes) {
  std::ofstream(file, std::ios::binary)
      .write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
}

class Cross : public testing::Test {
 protected:
  void SetUp() override {
    if (std::system("qemu-img --version >/dev/null && qemu-io --version >/dev/null") != 0)
      FAIL() << "qemu-img and qemu-io are missing (see tools/packages)";
  }

  // What a shell said of the command, run in the folder; nothing when it succeeded.
  std::optional<std::string> run(const std::string& command) {
    const auto line = fmt::format("cd {} && {{ {} ; }} >said 2>&1", folder_.string(), command);
    if (std::system(line.c_str()) == 0) return {};
    const auto said = bytes_of(folder_ / "said");
    return fmt::format("{}\n{}", command,
                       std::string(reinterpret_cast<const char*>(said.data()), said.size()));
  }
  void empty() {
    for (const auto& file : fs::directory_iterator(folder_)) fs::remove(file);
  }
  void tell(const Searched& done) {
    std::cout << fmt::format("{} operations in {} sequences, over {} combinations of options\n",
                             done.operations, done.sequences, done.options.size());
    if (done.disagreement)
      FAIL() << name_of(done.disagreement->oracle) << ": " << done.disagreement->what << "\n" << done.script;
  }

  // The sequence done by the programs in `programs` ("img=… io=…"), and read by the engine. `scope`: what they can do.
  Outcome done_by(const std::string& programs, const Sequence& sequence, Scope scope);
  // What the installed QEMU has against a chain that the engine made.
  std::string against(const EngineChain::Files& files, const Model& model, bool leaks);

 private:
  tests::Folder owner_;
  fs::path folder_ = owner_ / "";
};

Outcome Cross::done_by(const std::string& programs, const Sequence& sequence, Scope scope) {
  Model model(sequence.raw_base, sequence.first, scope);
  Outcome outcome;
  for (const auto& wanted : sequence.operations)
    if (const auto operation = model.fitted(wanted)) {
      model.apply(*operation);
      ++outcome.operations;
    }
  empty();
  const auto text = script(sequence, scope);
  write_file(folder_ / "script", std::as_bytes(std::span(text)));
  if (auto failed = run(programs + " sh -x script")) {
    outcome.disagreement = Disagreement{Oracle::refused, std::move(*failed)};
    return outcome;
  }
  const std::size_t top = model.layers().size() - 1;
  const engine::OpenFile open = [&](const std::string& file, bool writable) {
    return storage::open_file(folder_ / file, {.writable = writable});
  };
  const auto opened =
      engine::open_image(image_name(top), {.format = engine::ImageFormat::qcow2, .secret = password}, open);
  if (!opened) {
    outcome.disagreement = Disagreement{Oracle::refused, opened.error().message};
    return outcome;
  }
  outcome.disagreement = compare(*(*opened)->qcow2(), model.top(), false);
  if (!outcome.disagreement && model.top().setting.data_file != DataFile::none)
    outcome.disagreement = compare_data_file(bytes_of(folder_ / data_file_name(top)), model.top());
  if (!outcome.disagreement)
    if (auto found =
            findings((*opened)->device(), Leaks::none, model.top().setting.data_file == DataFile::none);
        !found.empty())
      outcome.disagreement = Disagreement{Oracle::check, std::move(found)};
  return outcome;
}

std::string Cross::against(const EngineChain::Files& files, const Model& model, bool leaks) {
  empty();
  for (const auto& [name, file] : files) write_file(folder_ / name, file.bytes());
  const Layer& layer = model.top();
  const auto image = opening_words(model);
  constexpr const char* or_leaks = " || test $? -eq 3";
  if (auto failed = run("qemu-img check -q " + image + (leaks ? or_leaks : ""))) return *failed;
  const auto compared = [&](const std::string& options, const State& state) -> std::optional<std::string> {
    if (auto failed = run(fmt::format("qemu-img convert {} {} -O raw raw", options, image))) return failed;
    if (bytes_of(folder_ / "raw") != state.content) return "qemu-img reads something else " + options;
    return {};
  };
  if (auto found = compared("", layer.disk)) return *found;
  // Another size than the disk's is beyond qemu-img.
  for (const auto& snapshot : layer.snapshots)
    if (snapshot.state.content.size() == layer.size())
      if (auto found = compared("-l snapshot.name=" + snapshot.name, snapshot.state)) return *found;
  return {};
}

TEST_F(Cross, WhatQemuWritesReadsAsTheModelSays) {
  tell(search({.seed = 5,
               .operations = long_run() ? 20'000U : 1'000U,
               .most_shrinks = 60,
               .wishes = {.luks = false, .largest_cluster = 65536, .most_operations = 80},
               .scope = Scope::peer},
              [&](const Sequence& s) { return done_by("img=qemu-img io=qemu-io", s, Scope::peer); }));
}

TEST_F(Cross, WhatTheVerbsWriteReadsAsTheModelSays) {
  const char* const cowvet = std::getenv("COWVET");
  ASSERT_NE(cowvet, nullptr);
  tell(search({.seed = 7,
               .operations = long_run() ? 20'000U : 500U,
               .most_shrinks = 60,
               .wishes = {.luks = false, .largest_cluster = 65536, .most_operations = 80},
               .scope = Scope::verbs},
              [&](const Sequence& s) {
                return done_by(fmt::format("img={0} io='{0} io'", cowvet), s, Scope::verbs);
              }));
}

TEST_F(Cross, WhatTheVerbsWriteUnderTheNamesOfQemuReadsAsTheModelSays) {
  const char* const cowvet = std::getenv("COWVET");
  ASSERT_NE(cowvet, nullptr);
  const tests::Folder links;
  for (const char* const name : {"qemu-img", "qemu-io"}) fs::create_symlink(cowvet, links / name);
  tell(search({.seed = 8,
               .operations = long_run() ? 20'000U : 300U,
               .most_shrinks = 60,
               .wishes = {.luks = false, .largest_cluster = 65536, .most_operations = 80},
               .scope = Scope::peer},
              [&](const Sequence& s) {
                return done_by(
                    fmt::format("img={} io={}", (links / "qemu-img").string(), (links / "qemu-io").string()),
                    s, Scope::peer);
              }));
}

TEST_F(Cross, WhatTheEngineWritesReadsInQemuAsTheModelSays) {
  const Examination how{.check_every = 8, .peer = [&](const auto& files, const Model& model, bool leaks) {
                          return against(files, model, leaks);
                        }};
  tell(search({.seed = 6,
               .operations = long_run() ? 30'000U : 2'000U,
               .most_shrinks = 200,
               .wishes = {.largest_cluster = 65536}},
              [&](const Sequence& s) { return examine(s, how); }));
}

}  // namespace
}  // namespace cowvet::model
