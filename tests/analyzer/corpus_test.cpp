// Every recipe of corpus/ is built, written to a file with its holes, and checked: exactly the rules that the recipe
// names are found, no others, with one thread, with two, and with memory for a small window only. And every rule of
// the table has a case.
#include <algorithm>
#include <iterator>
#include <set>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <gtest/gtest.h>

#include "analyzer/check.hpp"
#include "corpus/builder/cases.hpp"
#include "tests/analyzer/saved.hpp"

namespace cowvet::analyzer {
namespace {

using corpus::Case;
using findings::Severity;
using Rules = std::set<std::string>;

std::string shown(const Verdict& verdict) {
  std::string text;
  for (const auto& f : verdict.findings) {
    text += fmt::format("  {} {} at {}", findings::to_string(f.severity), f.rule->name, f.where);
    if (f.host) text += fmt::format(", bytes {:#x} +{:#x}", f.host->begin.raw(), f.host->length);
    for (const auto& g : f.guest)
      text += fmt::format(", guest {:#x} +{:#x} '{}'", g.begin.raw(), g.length, g.snapshot);
    text += fmt::format("; expected {}, actual {}; {}\n", findings::to_string(f.expected),
                        findings::to_string(f.actual), f.detail);
    for (const auto& o : f.owners) text += fmt::format("    with {} {}\n", o.what, o.where);
  }
  return text;
}

Rules found(const Verdict& verdict) {
  Rules rules;
  for (std::size_t i = 0; i < findings::rule_count; ++i)
    if (const auto rule = findings::RuleId::from_index(i); verdict.summary.of(rule).findings != 0)
      rules.emplace(rule->name);
  return rules;
}

Rules expected(const corpus::BuiltImage& image, bool deep) {
  Rules rules;
  for (const auto& e : image.expected)
    if (deep || !e.deep) rules.insert(e.rule);
  return rules;
}

// The rules that only one of the two sets has.
std::string difference(const Rules& is, const Rules& should) {
  Rules missing;
  Rules more;
  std::ranges::set_difference(should, is, std::inserter(missing, missing.end()));
  std::ranges::set_difference(is, should, std::inserter(more, more.end()));
  return missing.empty() && more.empty()
             ? std::string()
             : fmt::format("missing: {}; unexpected: {}", fmt::join(missing, ", "), fmt::join(more, ", "));
}

int exit_code(const Verdict& verdict) {
  if (!verdict.recognised) return 63;
  const auto worst = verdict.summary.worst();
  return !worst || *worst < Severity::leak ? 0 : *worst == Severity::leak ? 3 : 2;
}

std::string name_of(const Case& c) {
  auto name = c.path;
  std::ranges::replace_if(name, [](char letter) { return letter == '/' || letter == '-'; }, '_');
  return name;
}

class Corpus : public testing::TestWithParam<Case> {};

TEST_P(Corpus, gives_exactly_the_expected_rules) {
  const auto image = corpus::build_case(GetParam());
  ASSERT_TRUE(image) << image.error().message;
  const Saved files(*image);
  const auto verdict = files.check(false, 1);
  EXPECT_EQ(difference(found(verdict), expected(*image, false)), "") << shown(verdict);

  for (const auto& e : image->expected) {
    const auto rule = findings::RuleId::lookup(e.rule);
    ASSERT_TRUE(rule) << "line " << e.line << ": there is no rule " << e.rule;
    if (e.deep || !e.offset) continue;
    EXPECT_TRUE(std::ranges::any_of(
        verdict.findings,
        [&](const auto& f) { return f.rule == *rule && f.host && f.host->begin.raw() == *e.offset; }))
        << "line " << e.line << ": nothing at " << fmt::format("{:#x}", *e.offset) << "\n"
        << shown(verdict);
  }
  if (image->exit) {
    EXPECT_EQ(exit_code(verdict), *image->exit);
  }
  for (const auto& f : verdict.findings)
    EXPECT_FALSE(f.rule->deep) << f.rule->name << " is said to need --deep";
  // What a sound image may have: observations, and hazards that its recipe names.
  if (GetParam().rule.empty()) {
    EXPECT_LT(verdict.summary.worst().value_or(Severity::note), Severity::leak);
  }

  const auto same = [&](const Verdict& other) {
    EXPECT_EQ(other.findings, verdict.findings) << shown(other) << "instead of\n" << shown(verdict);
    EXPECT_EQ(other.summary, verdict.summary);
    EXPECT_EQ(other.doubts, verdict.doubts);
  };
  same(files.check(false, 2));
  same(files.check(false, 1, 0));
}

TEST_P(Corpus, gives_exactly_the_expected_rules_of_a_deep_check) {
  const auto image = corpus::build_case(GetParam());
  ASSERT_TRUE(image) << image.error().message;
  const Saved files(*image);
  const auto verdict = files.check(true, 1);
  EXPECT_EQ(difference(found(verdict), expected(*image, true)), "") << shown(verdict);
  for (const auto& e : image->expected)
    if (e.deep && e.offset) {
      EXPECT_TRUE(std::ranges::any_of(verdict.findings,
                                      [&](const auto& f) {
                                        return f.rule->name == e.rule && f.host &&
                                               f.host->begin.raw() == *e.offset;
                                      }))
          << "line " << e.line << ": nothing at " << fmt::format("{:#x}", *e.offset) << "\n"
          << shown(verdict);
    }
  const auto with_two = files.check(true, 2);
  EXPECT_EQ(with_two.findings, verdict.findings) << shown(with_two) << "instead of\n" << shown(verdict);
}

INSTANTIATE_TEST_SUITE_P(cases, Corpus, testing::ValuesIn(corpus::list_cases(corpus::corpus_directory())),
                         [](const auto& tested) { return name_of(tested.param); });

// What no recipe can show, with the test that shows it.
const std::set<std::string_view> shown_elsewhere{
    "file/in-use",                // tests/differential/live_lock_test.py
    "file/io-error",              // tests/analyzer/stopped_test.cpp
    "file/changed-during-check",  // tests/analyzer/stopped_test.cpp
};

TEST(Rules, each_has_a_case) {
  Rules without;
  Rules with;
  for (const auto* const ending : {".recipe", corpus::set_ending})
    for (const auto& c : corpus::list_cases(corpus::corpus_directory(), {}, ending)) with.insert(c.rule);
  for (const auto& rule : findings::all_rules())
    if (!with.contains(std::string(rule.name)) && !shown_elsewhere.contains(rule.name))
      without.emplace(rule.name);
  EXPECT_TRUE(without.empty()) << without.size() << " rules without a case:\n  "
                               << fmt::format("{}", fmt::join(without, "\n  "));
}

TEST(Rules, each_case_expects_the_rule_that_its_folder_names) {
  Rules wrong;
  for (const auto& c : corpus::list_cases(corpus::corpus_directory())) {
    if (c.rule.empty()) continue;
    const auto image = corpus::build_case(c);
    if (!image || !expected(*image, true).contains(c.rule)) wrong.insert(c.path);
  }
  EXPECT_TRUE(wrong.empty()) << fmt::format("{}", fmt::join(wrong, "\n"));
}

}  // namespace
}  // namespace cowvet::analyzer
