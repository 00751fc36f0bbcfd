// The report for a person: what it says first, what it leaves out, what it must not let through.
#include "reports/text.hpp"

#include <algorithm>
#include <sstream>

#include <gtest/gtest.h>

#include "tests/reports/samples.hpp"

namespace {

using namespace cowvet;
using namespace cowvet::reports;

std::string first_line(const std::string& text) { return text.substr(0, text.find('\n')); }

TEST(Text, says_the_verdict_first) {
  EXPECT_EQ(first_line(text(report_of({}))),
            "disk.qcow2: sound: every structure is consistent, and no data is at risk");
  EXPECT_TRUE(first_line(text(report_of({leak(5)}))).starts_with("disk.qcow2: leaks: "));
  EXPECT_TRUE(first_line(text(report_of({leak(5), lost_table(0)}))).starts_with("disk.qcow2: damaged: "));
  EXPECT_EQ(text(failed_report()), "gone.qcow2: not-examined: no such file: check the name\n");
}

TEST(Text, says_that_an_unusable_header_makes_the_image_unreadable) {
  auto report = report_of({leak(5)});
  report.outcome->inferred = true;
  EXPECT_TRUE(first_line(text(report)).starts_with("disk.qcow2: unreadable: "));
  report.outcome->geometry.reset();
  EXPECT_TRUE(first_line(text(report)).starts_with("disk.qcow2: unreadable: "));
  report.outcome->recognised = false;
  EXPECT_TRUE(text(report).starts_with("disk.qcow2: not-qcow2: "));
}

TEST(Text, a_warning_alone_leaves_the_image_sound) {
  EXPECT_EQ(judge(report_of({findings::Finding{"header/padding-nonzero"_rule}})), Judgement::sound);
}

TEST(Text, says_what_was_not_examined) {
  auto report = report_of({});
  report.outcome->complete = false;
  report.outcome->incomplete = "the memory limit is too small";
  EXPECT_TRUE(text(report).contains("not everything was examined: the memory limit is too small"));
}

TEST(Text, groups_findings_gravest_first_and_counts_what_it_leaves_out) {
  std::vector<findings::Finding> list;
  for (std::uint64_t i = 0; i < 128; ++i) list.push_back(leak(i));
  list.push_back(lost_table(3));
  const auto out = text(report_of(std::move(list)));
  EXPECT_TRUE(out.contains("1 error, 128 leaks"));
  EXPECT_LT(out.find("l1/entry-past-eof"), out.find("refcount/leak"));
  EXPECT_TRUE(out.contains("l1[3]: guest 0x60000000..0x80000000 (512 MiB); found 0x8000000100000000"));
  EXPECT_TRUE(out.contains("and 123 more")) << out;
  EXPECT_TRUE(out.contains("cluster[4]"));
  EXPECT_FALSE(out.contains("cluster[5]"));
}

TEST(Text, counts_notes_and_shows_them_when_verbose) {
  const auto report = report_of({findings::Finding{"l1/oversized"_rule}.at("l1")});
  EXPECT_TRUE(text(report).contains("1 note on legal but unusual things"));
  EXPECT_FALSE(text(report).contains("l1/oversized"));
  EXPECT_TRUE(text(report, {.verbose = true}).contains("l1/oversized"));
}

TEST(Text, lets_no_name_reach_the_terminal_as_it_is) {
  auto finding = leak(5);
  finding.snapshot = "\033[2J\u202e";
  finding.detail = "a\nb\x9b";
  auto report = report_of({finding}, "evil\033]0;name\a.qcow2");
  const auto out = text(report, {.verbose = true});
  for (const std::string_view bad : {"\033", "\a", "\u202e", "\x9b"}) EXPECT_FALSE(out.contains(bad));
  EXPECT_TRUE(out.contains("evil\\x1b]0;name\\x07.qcow2"));
}

TEST(Text, colours_only_when_asked) {
  const auto report = report_of({leak(5)});
  EXPECT_FALSE(text(report).contains("\033["));
  EXPECT_TRUE(text(report, {.color = true}).contains("\033["));
}

TEST(Text, puts_advice_that_loses_nothing_first) {
  // refcount/leak frees space; l1/copied-set-shared is mended without loss.
  const auto out = text(report_of({leak(5), findings::Finding{"l1/copied-set-shared"_rule}.at("l1[0]")}));
  const auto lossless = out.find(findings::RuleId("l1/copied-set-shared")->advice.substr(0, 30));
  const auto frees = out.find(findings::RuleId("refcount/leak")->advice.substr(0, 30));
  ASSERT_NE(lossless, std::string::npos);
  ASSERT_NE(frees, std::string::npos);
  EXPECT_LT(lossless, frees);
  EXPECT_LT(out.find("Keep the file as it is"), lossless);
}

TEST(Text, fits_the_width_where_words_allow) {
  std::istringstream lines(text(report_of({leak(5), lost_table(1)}), {.verbose = true, .width = 72}));
  unsigned prose = 0;
  for (std::string line; std::getline(lines, line); ++prose)
    if (!line.contains(" (") && !line.contains("disk.qcow2")) {
      EXPECT_LE(line.size(), 72U) << line;
    }
  EXPECT_GT(prose, 10U);
}

TEST(Text, wraps_at_blanks_and_indents) {
  EXPECT_EQ(wrapped("one two three", 2, 9), "one two\n  three");
  EXPECT_EQ(wrapped("averyveryverylongword x", 2, 9), "averyveryverylongword\n  x");
  EXPECT_EQ(wrapped("", 2, 9), "");
}

TEST(Text, ends_with_the_counters_of_qemu_img) {
  EXPECT_TRUE(text(report_of({}))
                  .contains("4/16 = 25.00% allocated, 0.00% fragmented, 0.00% compressed clusters\n"
                            "Image end offset: 589824\n"));
}

}  // namespace
