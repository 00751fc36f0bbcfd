// Every set of files in corpus/ is written to a folder and its chains are examined: exactly the rules that
// the set names are found, each on the file that it names.
#include "analyzer/graph.hpp"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "analyzer/json_name.hpp"
#include "analyzer/libvirt.hpp"
#include "corpus/builder/cases.hpp"
#include "storage/file.hpp"
#include "tests/analyzer/saved.hpp"
#include "tests/storage/temporary.hpp"

namespace cowvet::analyzer {
namespace {

using Expected = corpus::BuiltSet::Expected;

// The working folder for as long as a test runs: names in the sets start there.
class InFolder {
 public:
  InFolder() : before_(std::filesystem::current_path()) { std::filesystem::current_path(folder_ / ""); }
  InFolder(const InFolder&) = delete;
  InFolder& operator=(const InFolder&) = delete;
  ~InFolder() { std::filesystem::current_path(before_); }

 private:
  tests::Folder folder_;
  std::filesystem::path before_;
};

base::Result<std::unique_ptr<storage::Device>> open(const std::string& file) {
  return storage::open_file(file);
}

std::string shown(const std::vector<Expected>& list) {
  std::string text;
  for (const auto& one : list) text += fmt::format("  {} on {}\n", one.rule, one.file);
  return text;
}

class Sets : public testing::TestWithParam<corpus::Case> {};

TEST_P(Sets, give_exactly_the_expected_rules) {
  const auto set = corpus::build_set_case(GetParam());
  ASSERT_TRUE(set) << set.error().message;
  const InFolder here;
  const auto saved = corpus::save_set(*set, ".");
  ASSERT_TRUE(saved) << saved.error().message;
  std::vector<std::unique_ptr<storage::Device>> held;
  for (const auto& name : set->locked) {
    auto device = storage::open_file(name, {.writable = true});
    ASSERT_TRUE(device) << device.error().message;
    held.push_back(std::move(*device));
  }
  auto given = set->given;
  if (given.empty())
    for (const auto& file : set->files) given.push_back(file.name);
  GraphOptions options{.recursive = set->recursive, .follow_json = set->follow_json};
  if (set->deepest) options.deepest = *set->deepest;
  auto libvirt = read_libvirt(set->libvirt, open);
  ASSERT_TRUE(libvirt) << libvirt.error().message;
  auto graph = read_graph(given, options, open, libvirt->sources());
  ASSERT_TRUE(graph) << graph.error().message;
  check_graph(*graph, options);
  check_libvirt(*libvirt, *graph);
  std::vector<Expected> found;
  for (const auto& file : libvirt->files)
    for (const auto& finding : file.findings) found.push_back({std::string(finding.rule->name), file.file});
  for (const auto& node : graph->nodes)
    for (const auto& finding : node.findings) found.push_back({std::string(finding.rule->name), node.file});
  auto expected = set->expected;
  std::ranges::sort(found);
  std::ranges::sort(expected);
  EXPECT_EQ(found, expected) << shown(found) << "instead of\n" << shown(expected);
  if (!GetParam().rule.empty()) {
    EXPECT_TRUE(std::ranges::any_of(expected, [](const auto& e) { return e.rule == GetParam().rule; }));
  }
}

INSTANTIATE_TEST_SUITE_P(
    corpus, Sets, testing::ValuesIn(corpus::list_cases(corpus::corpus_directory(), {}, corpus::set_ending)),
    [](const auto& tested) {
      auto name = tested.param.path;
      std::ranges::replace_if(name, [](char letter) { return letter == '/' || letter == '-'; }, '_');
      return name;
    });

TEST(JsonNames, are_read_as_qemu_reads_them) {
  EXPECT_EQ(json_file(R"(json:{"driver":"qcow2","file":{"driver":"file","filename":"a\u00e4\n"}})")->file,
            "a\u00e4\n");
  EXPECT_EQ(json_file(R"(json: {"file.filename" : "a", "driver": "raw"} )")->format, "raw");
  EXPECT_EQ(json_file("json:{'driver':'file','filename':'a'}")->file, "a");
  EXPECT_TRUE(json_file(R"(json:{"file.filename":"a","backing":null})")->no_backing);
  EXPECT_EQ(json_file(R"(json:{"file.filename":"\ud83d\ude00"})")->file, "\xf0\x9f\x98\x80");
  for (const auto* const other :
       {"a", "json:", "json:{", "json:[]", "json:{}", R"(json:{"file.filename":1})",
        R"(json:{"file.filename":"a"}x)", R"(json:{"file.filename":"a","file.driver":"nbd"})",
        R"(json:{"driver":"luks","file.filename":"a"})", R"(json:{"file.filename":"a","file.locking":"off"})",
        R"(json:{"file.filename":"\ud83d"})", R"(json:{"file.filename":"\x"})", R"(json:{"file.filename":"a)",
        R"(json:{"file.filename":"a","x":tru})"})
    EXPECT_FALSE(json_file(other)) << other;
  EXPECT_FALSE(json_file("json:" + std::string(100'000, '[')));
  EXPECT_FALSE(json_file("json:{\"a\":" + std::string(100'000, '[')));
}

}  // namespace
}  // namespace cowvet::analyzer
