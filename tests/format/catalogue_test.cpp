// The run-time catalogue is complete: it lists each record and word that a header of format/ declares.
#include "format/catalogue.hpp"

#include <filesystem>
#include <fstream>
#include <iterator>
#include <regex>
#include <set>
#include <string>

#include <gtest/gtest.h>

namespace {

using namespace cowvet;

// What the headers of format/ declare with `opening("NAME"`, apart from the two that define the openings.
std::set<std::string> declared(const char* opening) {
  std::set<std::string> names;
  const std::regex declaration(std::string(opening) + "\\(\\s*\"([a-z0-9_]+)\"");
  for (const auto& entry : std::filesystem::directory_iterator(COWVET_SOURCE_DIR "/format")) {
    if (entry.path().extension() != ".hpp") continue;
    std::ifstream file(entry.path());
    const std::string text{std::istreambuf_iterator<char>(file), {}};
    for (std::sregex_iterator match(text.begin(), text.end(), declaration), end; match != end; ++match)
      names.insert((*match)[1]);
  }
  return names;
}

template <class List>
std::set<std::string> listed(const List& list) {
  std::set<std::string> names;
  for (const auto& info : list)
    EXPECT_TRUE(names.insert(std::string(info.name)).second) << info.name << " twice";
  return names;
}

TEST(Catalogue, lists_every_record) {
  EXPECT_GE(format::all_records().size(), 12U);
  EXPECT_EQ(listed(format::all_records()), declared("record"));
}

TEST(Catalogue, lists_every_word) {
  EXPECT_GE(format::all_words().size(), 10U);
  EXPECT_EQ(listed(format::all_words()), declared("word"));
}

TEST(Catalogue, fields_fill_their_record) {
  for (const auto& record : format::all_records()) {
    std::size_t at = 0;
    for (const auto& field : record.fields) {
      EXPECT_EQ(field.offset, at) << record.name << '.' << field.name;
      at += field.width;
    }
    EXPECT_EQ(at, record.size) << record.name;
  }
}

TEST(Catalogue, knows_which_fields_are_bit_words) {
  const auto word_name = [](const char* record_name, const char* field_name) -> std::string {
    const auto* record = format::find_record(record_name);
    for (const auto& field : record->fields)
      if (field.name == field_name) {
        const auto* word = format::word_of(*record, field);
        return word == nullptr ? "" : std::string(word->name);
      }
    return "no such field";
  };
  EXPECT_EQ(word_name("header_v3", "incompatible_features"), "incompatible_features");
  EXPECT_EQ(word_name("bitmap", "flags"), "bitmap_flags");
  EXPECT_EQ(word_name("header", "size"), "");
}

}  // namespace
