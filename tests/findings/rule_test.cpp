// The rule table: what a compiler can't assert about it.
#include "findings/rule.hpp"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <set>
#include <string>

#include <fmt/format.h>
#include <gtest/gtest.h>

namespace {

using namespace cowvet::findings;

std::string content(const std::filesystem::path& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

TEST(RuleTable, joins_every_area_file) {
  std::set<std::string> written;
  for (const auto& file : std::filesystem::directory_iterator(COWVET_SOURCE_DIR "/findings/rules")) {
    const std::string text = content(file.path());
    const std::string key = ".name = \"";
    for (auto at = text.find(key); at != std::string::npos; at = text.find(key, at + 1)) {
      const auto begin = at + key.size();
      written.insert(text.substr(begin, text.find('"', begin) - begin));
    }
  }
  std::set<std::string> joined;
  for (const Rule& rule : all_rules()) joined.emplace(rule.name);
  EXPECT_EQ(joined, written);
  EXPECT_EQ(joined.size(), rule_count);
}

TEST(RuleTable, texts_are_clean_and_differ_from_each_other) {
  std::map<std::string_view, std::string_view> titles;
  for (const Rule& rule : all_rules()) {
    const auto [other, is_new] = titles.emplace(rule.title, rule.name);
    EXPECT_TRUE(is_new) << rule.name << " and " << other->second << " have the same title";
    for (const std::string_view text :
         {rule.title, rule.explanation, rule.consequence, rule.advice, rule.spec}) {
      EXPECT_EQ(text.find("  "), std::string_view::npos) << rule.name << ": " << text;
      EXPECT_FALSE(text.starts_with(' ') || text.ends_with(' ')) << rule.name << ": " << text;
      EXPECT_TRUE(std::ranges::all_of(text, [](char c) { return c >= ' ' && c <= '~'; }))
          << rule.name << ": " << text;
    }
    EXPECT_TRUE(rule.title[0] < 'A' || rule.title[0] > 'Z' || rule.title.starts_with("L")) << rule.title;
    const std::string_view explanation = rule.explanation;
    const auto stops = std::ranges::count(explanation, '.');
    EXPECT_LE(stops, 5) << rule.name << ": four sentences at most";
  }
}

TEST(RuleTable, every_remedy_reason_and_consent_is_used) {
  std::set<Remedy> remedies;
  std::set<Reason> reasons;
  std::set<Consent> consents;
  std::set<Severity> severities;
  std::set<Reader> readers;
  for (const Rule& rule : all_rules()) {
    remedies.insert(rule.remedy);
    reasons.insert(rule.reason);
    consents.insert(rule.consent);
    severities.insert(rule.severity);
    readers.insert(rule.reader);
  }
  EXPECT_EQ(remedies.size(), static_cast<std::size_t>(Remedy::truncate_file) + 1);
  EXPECT_EQ(reasons.size(), static_cast<std::size_t>(Reason::n7_not_yet) + 1);
  EXPECT_EQ(consents.size(), static_cast<std::size_t>(Consent::lossy) + 1);
  EXPECT_EQ(severities.size(), severity_count);
  EXPECT_EQ(readers.size(), static_cast<std::size_t>(Reader::refuse_open) + 1);
}

// Harmless findings must not stop anybody, and what stops a reader must not pass for harmless.
TEST(RuleTable, severity_and_reader_agree) {
  for (const Rule& rule : all_rules()) {
    if (rule.severity == Severity::note) {
      EXPECT_LE(rule.reader, Reader::refuse_write) << rule.name;
    }
    if (rule.severity == Severity::fatal) {
      EXPECT_GE(rule.reader, Reader::refuse_write) << rule.name;
    }
    if (rule.reason == Reason::n3_legal) {
      EXPECT_LE(rule.severity, Severity::warning) << rule.name;
    }
  }
}

// What wastes work instead of space (a COPIED bit that isn't set) is mended without anything being freed.
TEST(RuleTable, leaks_are_freed_only_with_consent) {
  for (const Rule& rule : all_rules()) {
    if (rule.severity == Severity::leak && rule.remedy != Remedy::set_copied) {
      EXPECT_EQ(rule.consent, Consent::frees) << rule.name;
    }
  }
}

TEST(RuleTable, every_disagreement_named_is_explained) {
  const std::string catalogue = content(COWVET_SOURCE_DIR "/docs/catalogue.md");
  for (const Rule& rule : all_rules()) {
    const auto at = rule.spec.find("; D");
    if (at == std::string_view::npos) continue;
    const std::string row = fmt::format("| {} |", rule.spec.substr(at + 2));
    EXPECT_NE(catalogue.find(row), std::string::npos) << rule.name << " names " << row;
  }
}

TEST(RuleId, is_found_by_name_and_by_number) {
  for (std::size_t index = 0; index < rule_count; ++index) {
    const Rule& rule = all_rules()[index];
    const auto by_name = RuleId::lookup(rule.name);
    const auto by_number = RuleId::lookup(fmt::format("{}", rule.code));
    ASSERT_TRUE(by_name && by_number) << rule.name;
    EXPECT_EQ(by_name->index(), index);
    EXPECT_EQ(*by_name, *by_number);
    EXPECT_EQ(&**by_name, &rule);
    EXPECT_EQ(RuleId::from_index(index), *by_name);
  }
  EXPECT_EQ("refcount/leak"_rule, *RuleId::lookup("refcount/leak"));
}

TEST(RuleId, is_not_found_by_anything_else) {
  for (const char* text : {"", "refcount", "refcount/", "refcount/leaks", "REFCOUNT/LEAK", "0", "100", "1700",
                           "-101", "101 ", "+101", "0x65", "65637", "11/", "4294967397"}) {
    EXPECT_FALSE(RuleId::lookup(text)) << text;
  }
}

TEST(RuleId, orders_like_the_table) {
  static_assert("header/magic"_rule < "refcount/leak"_rule);
  for (std::size_t index = 1; index < rule_count; ++index) {
    EXPECT_LT(RuleId::from_index(index - 1), RuleId::from_index(index));
    EXPECT_LT(RuleId::from_index(index - 1)->code, RuleId::from_index(index)->code);
  }
}

template <class Enum>
void expect_distinct_words(Enum last) {
  std::set<std::string_view> words;
  for (int value = 0; value <= static_cast<int>(last); ++value) {
    const std::string_view word = to_string(static_cast<Enum>(value));
    EXPECT_FALSE(word.empty());
    EXPECT_TRUE(words.insert(word).second) << word;
  }
}

TEST(Words, differ) {
  expect_distinct_words(Severity::fatal);
  expect_distinct_words(Reader::refuse_open);
  expect_distinct_words(Consent::lossy);
  expect_distinct_words(Reason::n7_not_yet);
  expect_distinct_words(Remedy::truncate_file);
}

TEST(Words, of_severities_are_understood_again) {
  for (std::size_t value = 0; value < severity_count; ++value) {
    const auto severity = static_cast<Severity>(value);
    EXPECT_EQ(parse_severity(to_string(severity)), severity);
  }
  EXPECT_FALSE(parse_severity("Error"));
  EXPECT_FALSE(parse_severity(""));
}

}  // namespace
