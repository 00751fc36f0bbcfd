// The committed pages of docs/ are what the tables say. To renew them: build cowvet-docs and run it on docs/.
#include "reports/pages.hpp"

#include <fstream>
#include <iterator>

#include <gtest/gtest.h>

namespace {

using namespace cowvet;

TEST(Pages, are_made_from_the_tables) {
  ASSERT_EQ(reports::all_pages().size(), 2U);
  for (const auto& page : reports::all_pages()) {
    std::ifstream file(std::string(COWVET_SOURCE_DIR "/docs/") + std::string(page.name));
    const std::string committed{std::istreambuf_iterator<char>(file), {}};
    // Not EXPECT_EQ: thousands of lines of difference help nobody.
    EXPECT_TRUE(committed == page.text()) << "docs/" << page.name << " is out of date: run cowvet-docs docs";
  }
}

}  // namespace
