// Text from inside an image: what is plain, and how the rest is shown.
#include "base/text.hpp"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

namespace cowvet::base {
namespace {

using namespace std::string_literals;

TEST(Text, PlainTextIsUtf8WithoutControlCharacters) {
  EXPECT_TRUE(plain_text(""));
  EXPECT_TRUE(plain_text("base image.qcow2"));
  EXPECT_TRUE(plain_text("größe \xe2\x82\xac \xf0\x9f\x90\x84"));
  EXPECT_TRUE(plain_text("C:\\disks\\a.qcow2"));
  for (const auto& bad : {"a\nb"s, "\0"s, "\x7f"s, "\xc2\x85"s /* next line */, "\x1b[31m"s})
    EXPECT_FALSE(plain_text(bad));
}

TEST(Text, BytesThatAreNoUtf8AreNotPlain) {
  EXPECT_FALSE(plain_text("\x80"));              // continuation without a start
  EXPECT_FALSE(plain_text("\xc3"));              // cut short
  EXPECT_FALSE(plain_text("\xc3("));             // the second byte is no continuation
  EXPECT_FALSE(plain_text("\xc0\xaf"));          // a slash, longer than need be
  EXPECT_FALSE(plain_text("\xe0\x80\xaf"));      // the same in three bytes
  EXPECT_FALSE(plain_text("\xed\xa0\x80"));      // a surrogate
  EXPECT_FALSE(plain_text("\xf4\x90\x80\x80"));  // behind U+10FFFF
  EXPECT_FALSE(plain_text("\xff"));
}

TEST(Text, DirectionMarksAndLineSeparatorsAreNotPlain) {
  for (const auto* bad : {"\xe2\x80\xae", "\xe2\x80\xaa", "\xe2\x81\xa6", "\xe2\x81\xa9", "\xe2\x80\x8f",
                          "\xd8\x9c", "\xe2\x80\xa8"})
    EXPECT_FALSE(plain_text(bad)) << escape(bad);
}

TEST(Text, EscapeKeepsPlainTextAndShowsTheRestAsBytes) {
  EXPECT_EQ(escape("größe"), "größe");
  EXPECT_EQ(escape("a\nb\0c"s), R"(a\x0ab\x00c)");
  EXPECT_EQ(escape("x\xff\xc3"), R"(x\xff\xc3)");
  EXPECT_EQ(escape("evil\xe2\x80\xae"
                   "2wocq.exe"),
            R"(evil\xe2\x80\xae2wocq.exe)");
  EXPECT_EQ(escape("\xe2\x82\xac\xe2\x82"), "\xe2\x82\xac\\xe2\\x82");
}

RC_GTEST_PROP(Text, WhatIsEscapedIsPlainAndPlainStays, (const std::string& text)) {
  RC_ASSERT(plain_text(escape(text)));
  RC_ASSERT(plain_text(text) == (escape(text) == text));
}

// The expected strings are what `qemu-img info` 7.2 prints for these sizes.
TEST(Text, HumanSizesReadAsQemuImgWritesThem) {
  EXPECT_EQ(human_size(0), "0 B");
  EXPECT_EQ(human_size(512), "512 B");
  EXPECT_EQ(human_size(1024), "1 KiB");
  EXPECT_EQ(human_size(1536), "1.5 KiB");
  EXPECT_EQ(human_size(200704), "196 KiB");
  EXPECT_EQ(human_size(1022976), "999 KiB");
  EXPECT_EQ(human_size(1024000), "0.977 MiB");
  EXPECT_EQ(human_size(1047552), "0.999 MiB");
  EXPECT_EQ(human_size(1610612736), "1.5 GiB");
  EXPECT_EQ(human_size(1073741824000), "0.977 TiB");
  EXPECT_EQ(human_size(~std::uint64_t{0}), "16 EiB");
}

}  // namespace
}  // namespace cowvet::base
