// What the command line understands: sizes, suggestions, options; and which exit code is worse.
#include "cli/arguments.hpp"

#include <array>

#include <gtest/gtest.h>

#include "cli/meter.hpp"

namespace {

using namespace cowvet::cli;

TEST(Sizes, are_those_of_qemu_img) {
  EXPECT_EQ(parse_size("0"), 0U);
  EXPECT_EQ(parse_size("512"), 512U);
  EXPECT_EQ(parse_size("64k"), 65536U);
  EXPECT_EQ(parse_size("64K"), 65536U);
  EXPECT_EQ(parse_size("1.5G"), 3ULL << 29);
  EXPECT_EQ(parse_size("0.5k"), 512U);
  EXPECT_EQ(parse_size("0x10000"), 65536U);
  EXPECT_EQ(parse_size("7E"), 7ULL << 60);
  EXPECT_EQ(parse_size("1.0"), 1U);
  EXPECT_EQ(parse_size("0X1f"), 31U);
  EXPECT_EQ(parse_size("9007199254740993"), 9007199254740993U) << "no detour through floating point";
}

TEST(Sizes, that_are_none_are_refused) {
  for (const auto* text : {"", "k", "-1", "1kb", "1 k", "1x", "16E", "99999999999999999999", "nan", "1e3",
                           "0x", "0x1k", "1.3", "1.5b"})
    EXPECT_EQ(parse_size(text), std::nullopt) << text;
  EXPECT_EQ(read_size("16E").status, SizeStatus::too_large);
  EXPECT_EQ(read_size("99999999999999999999").status, SizeStatus::too_large);
  EXPECT_EQ(read_size("1x").status, SizeStatus::malformed);
}

TEST(Suggestions, name_what_is_near_and_nothing_else) {
  constexpr std::array<std::string_view, 6> words{"check", "info", "map", "--output", "--io", "-f"};
  EXPECT_EQ(nearest("chek", words), "check");
  EXPECT_EQ(nearest("ceck", words), "check");
  EXPECT_EQ(nearest("inof", words), "info");
  EXPECT_EQ(nearest("--outptu", words), "--output");
  EXPECT_EQ(nearest("mpa", words), "") << "two of three letters";
  EXPECT_EQ(nearest("--oi", words), "") << "the dashes are no likeness";
  EXPECT_EQ(nearest("--ioo", words), "--io");
  EXPECT_EQ(nearest("--frob", words), "");
  EXPECT_EQ(nearest("-x", words), "");
  EXPECT_EQ(nearest("frobnicate", words), "");
  EXPECT_EQ(nearest("", words), "");
}

TEST(ExitCodes, the_worst_image_counts) {
  EXPECT_EQ(worse(Exit::success, Exit::leaks), Exit::leaks);
  EXPECT_EQ(worse(Exit::corrupt, Exit::leaks), Exit::corrupt);
  EXPECT_EQ(worse(Exit::failed, Exit::corrupt), Exit::corrupt);
  EXPECT_EQ(worse(Exit::unsupported, Exit::failed), Exit::failed);
}

class Parsing : public testing::Test {
 protected:
  std::optional<Exit> parse(std::vector<std::string> words) {
    Arguments arguments("verb", "Does it.", "");
    arguments.flag("-q,--quiet", quiet_, "");
    arguments.text("-f", format_, "FMT", "");
    arguments.texts("--report", reports_, "FILE", "");
    arguments.number("--jobs", jobs_, "");
    arguments.word("--output", output_, {"human", "json"}, "");
    arguments.operands(images_, "IMAGE", "");
    std::vector<char*> pointers;
    for (auto& word : words) pointers.push_back(word.data());
    testing::internal::CaptureStderr();
    auto code = arguments.parse(pointers, console_);
    said_ = testing::internal::GetCapturedStderr();
    return code;
  }

  Console console_;
  bool quiet_ = false;
  std::string format_, output_ = "human", said_;
  std::vector<std::string> reports_, images_;
  std::uint64_t jobs_ = 7;
};

TEST_F(Parsing, takes_options_before_and_after_images) {
  ASSERT_EQ(parse({"a", "-q", "--output=json", "b", "-f", "qcow2"}), std::nullopt);
  EXPECT_TRUE(quiet_);
  EXPECT_EQ(output_, "json");
  EXPECT_EQ(format_, "qcow2");
  EXPECT_EQ(images_, (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(jobs_, 7U) << "what was not given keeps its value";
}

TEST_F(Parsing, an_option_that_repeats_takes_no_image_with_it) {
  ASSERT_EQ(parse({"--report", "r.json", "a", "--report", "r.xml", "b"}), std::nullopt);
  EXPECT_EQ(reports_, (std::vector<std::string>{"r.json", "r.xml"}));
  EXPECT_EQ(images_, (std::vector<std::string>{"a", "b"}));
}

TEST_F(Parsing, the_last_of_two_values_counts) {
  ASSERT_EQ(parse({"-f", "raw", "-f", "qcow2", "a"}), std::nullopt);
  EXPECT_EQ(format_, "qcow2");
}

TEST_F(Parsing, what_stands_behind_two_dashes_is_no_option) {
  ASSERT_EQ(parse({"--", "-q"}), std::nullopt);
  EXPECT_FALSE(quiet_);
  EXPECT_EQ(images_, (std::vector<std::string>{"-q"}));
}

TEST_F(Parsing, says_what_is_wrong_and_where_help_is) {
  EXPECT_EQ(parse({"--outptu=json", "a"}), Exit::failed);
  EXPECT_EQ(said_,
            "cowvet: verb: there is no option '--outptu=json'; did you mean '--output'?: see 'cowvet verb "
            "--help'\n");
  EXPECT_EQ(parse({"--output", "yaml", "a"}), Exit::failed);
  EXPECT_NE(said_.find("'yaml' is none of human, json"), std::string::npos) << said_;
  EXPECT_EQ(parse({"--jobs", "many", "a"}), Exit::failed);
  EXPECT_NE(said_.find("'many' is no number"), std::string::npos) << said_;
  EXPECT_EQ(parse({}), Exit::failed);
  EXPECT_NE(said_.find("IMAGE is missing"), std::string::npos) << said_;
  EXPECT_EQ(parse({"a", "-f"}), Exit::failed);
  EXPECT_NE(said_, "");
}

TEST(Meter, shows_share_rate_and_time_left) {
  using namespace std::chrono_literals;
  EXPECT_EQ(progress_line(0, 0, 1s), "starting");
  EXPECT_EQ(progress_line(0, 1 << 20, 1s), " 0.0 %  0 B of 1 MiB");
  EXPECT_EQ(progress_line(1 << 20, 4 << 20, 2s), "25.0 %  1 MiB of 4 MiB  512 KiB/s  6 s left");
  EXPECT_EQ(progress_line(9 << 20, 4 << 20, 9s).substr(0, 7), "100.0 %") << "never more than all";
}

}  // namespace
