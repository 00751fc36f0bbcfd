// The command language of `io`: how lines are taken apart, what numbers mean, how figures are printed.
#include <gtest/gtest.h>

#include "cli/io_line.hpp"
#include "cli/io_report.hpp"
#include "cli/program.hpp"

namespace {

using namespace cowvet;
using namespace cowvet::cli;

TEST(IoLines, are_parted_by_blanks_and_nothing_quotes) {
  EXPECT_EQ(io_words("  read   0 \"5 6\" "), (std::vector<std::string>{"read", "0", "\"5", "6\""}));
  EXPECT_EQ(io_words("read\t0"), (std::vector<std::string>{"read\t0"}));
  EXPECT_TRUE(io_words("   ").empty());
}

TEST(IoLines, take_options_anywhere) {
  const auto line = parse_io_line(io_words("read 0 -qP 7 512 -l5"), "qP:l:");
  ASSERT_EQ(line.options.size(), 3U);
  EXPECT_EQ(line.options[0].letter, 'q');
  EXPECT_EQ(line.options[1].letter, 'P');
  EXPECT_EQ(line.options[1].value, "7");
  EXPECT_EQ(line.options[2].value, "5");
  EXPECT_EQ(line.operands, (std::vector<std::string>{"0", "512"}));
}

TEST(IoLines, end_options_at_two_dashes_and_take_a_lone_dash_as_operand) {
  const auto line = parse_io_line(io_words("read - -- -q 5"), "q");
  EXPECT_TRUE(line.options.empty());
  EXPECT_EQ(line.operands, (std::vector<std::string>{"-", "-q", "5"}));
}

TEST(IoLines, tell_options_that_are_wrong_in_their_place) {
  const auto line = parse_io_line(io_words("read -qxP"), "qP:");
  ASSERT_EQ(line.options.size(), 3U);
  EXPECT_EQ(line.options[1].letter, '?');
  EXPECT_EQ(line.options[1].fault, "read: invalid option -- 'x'");
  EXPECT_EQ(line.options[2].fault, "read: option requires an argument -- 'P'");
  EXPECT_EQ(parse_io_line(io_words("read -:"), "qP:").options.at(0).letter, '?');
}

TEST(IoNumbers, have_suffixes_and_end_at_63_bits) {
  EXPECT_EQ(io_number("1.5k"), 1536U);
  EXPECT_EQ(io_number("+5"), 5U);
  EXPECT_EQ(io_number("0x200"), 512U);
  EXPECT_EQ(io_number("9223372036854775807"), 9223372036854775807U);
  EXPECT_EQ(io_number("8E").error(), "Parsing error: argument too large -- 8E");
  EXPECT_EQ(io_number("-1").error(),
            "Parsing error: non-numeric argument, or extraneous/unrecognized suffix -- -1");
}

TEST(IoPatterns, are_bytes_in_three_bases) {
  EXPECT_EQ(io_pattern("255"), 255);
  EXPECT_EQ(io_pattern("0xcd"), 0xcd);
  EXPECT_EQ(io_pattern("010"), 8);
  EXPECT_EQ(io_pattern("0"), 0);
  for (const auto* text : {"", "256", "-1", "0x", "08", "7k", "x"})
    EXPECT_EQ(io_pattern(text), std::nullopt) << text;
}

TEST(IoReports, print_sizes_with_three_digits_unless_they_are_even) {
  EXPECT_EQ(io_size(0), "0 bytes");
  EXPECT_EQ(io_size(1536), "1.500 KiB");
  EXPECT_EQ(io_size(65536), "64 KiB");
  EXPECT_EQ(io_size(65541), "64.005 KiB");
  EXPECT_EQ(io_size(5.120564), "5.120564 bytes");
  EXPECT_EQ(io_size(0x1p63), "8 EiB");
}

TEST(IoReports, print_times_and_rates) {
  using namespace std::chrono_literals;
  EXPECT_EQ(
      io_report({.done = "wrote", .offset = 512, .bytes = 65536, .time = 500ms}, false),
      "wrote 65536/65536 bytes at offset 512\n64 KiB, 1 ops; 00.50 sec (128 KiB/sec and 2.0000 ops/sec)\n");
  EXPECT_EQ(
      io_report({.done = "read", .offset = 0, .bytes = 1024, .time = 2s}, false),
      "read 1024/1024 bytes at offset 0\n1 KiB, 1 ops; 0:00:02.00 (512 bytes/sec and 0.5000 ops/sec)\n");
  EXPECT_EQ(io_report({.done = "read", .offset = 0, .bytes = 1024, .time = 3725s}, true),
            "1024,1,1:02:05.00,0.275,0.000\n");
}

TEST(IoReports, dump_lines_of_sixteen) {
  std::vector<std::byte> bytes;
  for (int i = 0x39; i < 0x4a; ++i) bytes.push_back(static_cast<std::byte>(i));
  std::string out;
  add_io_dump(out, 0x100, bytes);
  EXPECT_EQ(out,
            "00000100:  39 3a 3b 3c 3d 3e 3f 40 41 42 43 44 45 46 47 48  9.......ABCDEFGH\n"
            "00000110:  49  I\n");
}

TEST(Programs, are_known_by_the_last_part_of_their_path) {
  EXPECT_EQ(program_named("/usr/bin/qemu-img"), Program::qemu_img);
  EXPECT_EQ(program_named("qemu-io"), Program::qemu_io);
  EXPECT_EQ(program_named("/usr/bin/cowvet"), Program::cowvet);
  EXPECT_EQ(program_named("qemu-io/cowvet"), Program::cowvet);
  EXPECT_EQ(program_named(""), Program::cowvet);
}

class StandsIn : public testing::Test {
 protected:
  void TearDown() override { call_as(Program::cowvet); }
};

TEST_F(StandsIn, and_says_what_scripts_match) {
  const base::Error missing{base::ErrorKind::not_found, "no such file: check the name", ENOENT};
  EXPECT_EQ(file_error("f", false, missing).message, missing.message) << "cowvet keeps its own words";
  call_as(Program::qemu_img);
  EXPECT_EQ(about_opening("f", file_error("f", false, missing)),
            "Could not open 'f': Could not open 'f': No such file or directory");
  auto below = file_error("b", false, missing);
  below.message = "backing file 'b': " + below.message;
  EXPECT_EQ(about_opening("f", below),
            "Could not open 'f': Could not open backing file: Could not open 'b': No such file or directory");
  EXPECT_EQ(file_error("f", true, {base::ErrorKind::in_use, ""}).message,
            "Failed to get \"write\" lock\nIs another process using the image [f]?");
  EXPECT_EQ(invocation("check"), "qemu-img check");
  call_as(Program::qemu_io);
  EXPECT_EQ(about_opening("f", {base::ErrorKind::wrong_format, "not a qcow2 image"}),
            "can't open device f: Image is not in qcow2 format");
  EXPECT_EQ(invocation("io"), "qemu-io");
}

}  // namespace
