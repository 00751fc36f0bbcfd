// What the corpus can't say about header extensions and the backing file's name: what is handed on to later checks, the
// bytes that a finding names, and that any list is read to its end.
#include <gtest/gtest.h>

#include "tests/analyzer/examined.hpp"
#include "tests/analyzer/places.hpp"

namespace cowvet::analyzer {
namespace {

using namespace findings::literals;
using findings::HostRange;
using findings::Severity;
using format::ExtensionType;

TEST(ExtensionChecks, WhatTheRecordsSayIsHandedOn) {
  const ExaminedRecipe overlay("image\nbacking \"base.img\" format=raw");
  EXPECT_EQ(overlay.image.backing_name, "base.img");
  EXPECT_EQ(overlay.image.backing_format, "raw");
  EXPECT_FALSE(overlay.image.data_file_name);
  EXPECT_FALSE(overlay.image.encryption);
  const ExaminedRecipe with_file("image\ndatafile \"disk.raw\"");
  EXPECT_EQ(with_file.image.data_file_name, "disk.raw");
  const ExaminedRecipe encrypted("image encryption=luks");
  ASSERT_TRUE(encrypted.image.encryption);
  EXPECT_GE(encrypted.image.encryption->length, 592U);
}

TEST(ExtensionChecks, AnEncryptionHeaderOfTheWrongLengthIsHandedOnAsFarAsItGoes) {
  const ExaminedRecipe longer("image encryption=luks\ndamage:\nset ext[encryption].length = 24");
  ASSERT_TRUE(longer.image.encryption);
  EXPECT_EQ(longer.image.encryption->offset.raw() % 65536, 0U);
  const ExaminedRecipe shorter("image encryption=luks\ndamage:\nset ext[encryption].length = 8");
  EXPECT_FALSE(shorter.image.encryption);
  EXPECT_EQ(shorter.of("ext/crypto-length"_rule).size(), 1U);
}

TEST(ExtensionChecks, ABackingNameInTheListDoesNotHideTheRecordsBehindIt) {
  const ExaminedRecipe examined(
      "image encryption=luks\nbacking \"base.img\" format=raw\ndamage:\n"
      "set header.backing_file_offset = @ext[encryption] + 4");
  EXPECT_EQ(examined.only("backing/offset-range"_rule).severity, Severity::error);
  EXPECT_TRUE(examined.image.encryption);
  EXPECT_TRUE(examined.of("ext/area-overrun"_rule).empty());
}

TEST(ExtensionChecks, TheLastOfSeveralRecordsCounts) {
  const ExaminedRecipe examined("image\nbacking \"b\" format=raw\nextension 0xe2792aca \"qcow2\"");
  EXPECT_EQ(examined.image.backing_format, "qcow2");
}

TEST(ExtensionChecks, AListOfVeryManyRecordsIsReadUpToALimitAndDoubted) {
  auto bytes = bytes_of("image cluster_size=64K");
  for (std::size_t at = 112; at + 8 <= 65536; at += 8) bytes[at + 3] = std::byte{1};  // type 1, no data
  const storage::MemoryDevice device(std::move(bytes));
  const Examined examined(device);
  EXPECT_EQ(examined.of("ext/unknown"_rule).size(), 4096U);
  EXPECT_EQ(examined.of("ext/end-record-missing"_rule).size(), 1U);
  EXPECT_EQ(examined.image.doubts.size(), 2U);
}

TEST(ExtensionChecks, AVersion2ImageWithoutRoomForExtensionsIsSound) {
  const ExaminedRecipe examined(
      "image version=2\nbacking \"base.img\"\ndamage:\nset header.backing_file_offset = 72\n"
      "copy @backing_name to 72\nzero 80 for 16");
  EXPECT_TRUE(examined.of("ext/end-record-missing"_rule).empty());
  EXPECT_EQ(examined.image.backing_name, "base.img");
}

TEST(ExtensionChecks, SlackIsNamedFromItsFirstToItsLastByteAndQuoted) {
  const ExaminedRecipe examined("image\ndamage:\nwrite 0x800 \"/old/base.img\"\nwrite 0x900 u8 7");
  const auto finding = examined.only("header/slack-nonzero"_rule);
  EXPECT_EQ(finding.host, (HostRange{host(0x800), 0x101}));
  EXPECT_EQ(finding.detail, "The bytes begin with \"/old/base.img\".");
}

TEST(ExtensionChecks, SlackAroundANameThatIsNotInItsPlaceIsNotJudged) {
  const ExaminedRecipe examined(
      "image\nbacking \"base.img\" format=raw\ndamage:\nset header.backing_file_size = 1024");
  EXPECT_TRUE(examined.of("header/slack-nonzero"_rule).empty());
}

TEST(ExtensionChecks, AnOverlongBackingFormatIsFatalAndAnEmptyOneAWarning) {
  EXPECT_EQ(ExaminedRecipe("image\nbacking \"b\" format=\"sixteen bytes ...\"")
                .only("ext/backing-format-length"_rule)
                .severity,
            Severity::fatal);
  EXPECT_EQ(
      ExaminedRecipe("image\nbacking \"b\" format=\"\"").only("ext/backing-format-length"_rule).severity,
      Severity::warning);
}

TEST(BackingChecks, ANameOfExactlyTheRestOfTheClusterIsSound) {
  const ExaminedRecipe examined(
      "image cluster_size=4K\nbacking \"base.img\" format=raw\ndamage:\nzero @backing_name\nwrite 4088 "
      "\"base.img\"\n"
      "set header.backing_file_offset = 4088");
  EXPECT_TRUE(examined.findings.empty());
  EXPECT_EQ(examined.image.backing_name, "base.img");
}

TEST(BackingChecks, ANameBeyondTheFirstClusterIsFatalOneInsideTheHeaderAnError) {
  const std::string image =
      "image cluster_size=4K\nbacking \"base.img\" format=raw\ndamage:\nset header.backing_file_offset = ";
  EXPECT_EQ(ExaminedRecipe(image + "4096").only("backing/offset-range"_rule).severity, Severity::fatal);
  EXPECT_EQ(ExaminedRecipe(image + "-1").only("backing/offset-range"_rule).severity, Severity::fatal);
  EXPECT_EQ(ExaminedRecipe(image + "8").only("backing/offset-range"_rule).severity, Severity::error);
}

TEST(BackingChecks, ANameIsHandedOnWithItsExactBytes) {
  const ExaminedRecipe examined("image\nbacking \"a\\x1b\\xff\\0b\" format=raw");
  EXPECT_EQ(examined.image.backing_name, std::string("a\x1b\xff\0b", 5));
  const auto finding = examined.only("backing/name-nul"_rule);
  EXPECT_EQ(finding.detail, "QEMU opens \"a\\x1b\\xff\".");
  EXPECT_TRUE(examined.of("backing/name-text"_rule).empty())
      << "one finding says what is wrong with the name";
}

}  // namespace
}  // namespace cowvet::analyzer
