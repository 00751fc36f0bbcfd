// What the corpus can't say about the check of the header: the bytes and the guest ranges that a finding names, which
// tables stay usable, and where owners of clusters may be missing.
#include <algorithm>

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "analyzer/field_finding.hpp"
#include "analyzer/infer.hpp"
#include "storage/fault.hpp"
#include "tests/analyzer/examined.hpp"
#include "tests/analyzer/places.hpp"

namespace cowvet::analyzer {
namespace {

using namespace findings::literals;
using findings::HostRange;
using findings::Severity;

TEST(FieldFinding, TakesPathBytesAndValueFromTheFieldTable) {
  static_assert(field_info<&format::HeaderV2::crypt_method>().offset == 32);
  static_assert(field_info<&format::HeaderV2::l1_size>().width == 4);
  const format::EncryptionExtension record{host(0x50000), 592};
  const auto offset = field_finding<&format::EncryptionExtension::offset>("ext/crypto-length"_rule, record,
                                                                          host(0x90), "ext[1]");
  EXPECT_EQ(offset.where, "ext[1].offset");
  EXPECT_EQ(offset.host, (HostRange{host(0x90), 8}));
  EXPECT_EQ(to_string(offset.actual), "0x50000");
  const auto length = field_finding<&format::EncryptionExtension::length>("ext/crypto-length"_rule, record,
                                                                          host(0x90), "ext[1]");
  EXPECT_EQ(length.host, (HostRange{host(0x98), 8}));
  EXPECT_EQ(to_string(length.actual), "592");
}

TEST(FieldFinding, ARecordAtTheEndOf64BitsHasNoBytes) {
  const auto finding =
      field_finding<&format::EncryptionExtension::length>("ext/crypto-length"_rule, host(~0ULL), "ext[1]");
  EXPECT_FALSE(finding.host);
}

TEST(HeaderChecks, ASoundImageGivesGeometryTablesAndRegions) {
  const ExaminedRecipe examined("image cluster_size=4K size=8M");
  EXPECT_TRUE(examined.findings.empty());
  EXPECT_TRUE(examined.image.doubts.empty());
  ASSERT_TRUE(examined.image.geometry);
  EXPECT_EQ(examined.image.geometry->cluster_size(), 4096U);
  EXPECT_EQ(examined.image.cluster0.size(), 4096U);
  EXPECT_TRUE(examined.image.l1_usable);
  EXPECT_TRUE(examined.image.refcount_table_usable);
  const auto& v2 = examined.image.header.v2;
  const auto* header = examined.region(Kind::header);
  const auto* l1 = examined.region(Kind::active_l1);
  const auto* refcounts = examined.region(Kind::refcount_table);
  ASSERT_TRUE(header != nullptr && l1 != nullptr && refcounts != nullptr);
  EXPECT_EQ(header->length, 4096U);
  EXPECT_EQ(l1->begin, v2.l1_table_offset);
  EXPECT_EQ(l1->length, 8U * v2.l1_size);
  EXPECT_EQ(refcounts->begin, v2.refcount_table_offset);
  EXPECT_EQ(refcounts->length, 4096U);
}

TEST(HeaderChecks, AFindingNamesTheFieldWithWhatWasFoundAndExpected) {
  const ExaminedRecipe examined("image cluster_size=4K\ndamage:\nset header.header_length = 108");
  const auto finding = examined.only("header/length-unaligned"_rule);
  EXPECT_EQ(finding.where, "header.header_length");
  EXPECT_EQ(finding.host, (HostRange{host(100), 4}));
  EXPECT_EQ(to_string(finding.actual), "108");
  EXPECT_EQ(to_string(finding.expected), "a multiple of 8");
}

TEST(HeaderChecks, AnL1TableThatIsTooShortNamesTheGuestRangeBehindIt) {
  // A table of 4 KiB clusters covers 2 MiB for each entry.
  const ExaminedRecipe examined("image cluster_size=4K size=8M\ndamage:\nset header.size = 11M");
  const auto finding = examined.only("header/l1-coverage"_rule);
  EXPECT_EQ(finding.guest, std::vector{guest(8 << 20, 3 << 20)});
  EXPECT_EQ(to_string(finding.expected), "at least 6");
  EXPECT_TRUE(examined.image.l1_usable) << "what the table covers can be read";
}

TEST(HeaderChecks, AnL1TableThatIsCutOffNamesTheGuestRangeOfTheLostEntries) {
  const ExaminedRecipe examined("image cluster_size=4K size=128M\ndamage:\ntruncate @l1 + 20");
  const auto finding = examined.only("l1/table-past-eof"_rule);
  EXPECT_EQ(finding.guest, std::vector{guest(4 << 20, 124 << 20)}) << "two entries are whole";
  EXPECT_TRUE(examined.image.l1_usable);
  ASSERT_NE(examined.region(Kind::active_l1), nullptr);
}

TEST(HeaderChecks, AnL1TableBehindTheEndOfTheFileKeepsItsRegionAndIsNotRead) {
  const ExaminedRecipe examined("image cluster_size=4K size=8M\ndamage:\nset header.l1_table_offset = 1T");
  EXPECT_EQ(examined.only("l1/table-past-eof"_rule).guest, std::vector{guest(0, 8 << 20)});
  EXPECT_FALSE(examined.image.l1_usable);
  EXPECT_TRUE(examined.image.refcount_table_usable);
  ASSERT_NE(examined.region(Kind::active_l1), nullptr);
}

TEST(HeaderChecks, EntriesBehindTheDisksEndPutNothingAtStake) {
  const ExaminedRecipe examined("image cluster_size=4K size=2M l1_entries=8\ndamage:\ntruncate @l1 + 16");
  EXPECT_TRUE(examined.only("l1/table-past-eof"_rule).guest.empty());
}

TEST(HeaderChecks, ABadL1TableLeavesTheRefcountsToBeCheckedAndTheReverse) {
  for (const auto* damage : {"set header.l1_table_offset += 512", "set header.l1_table_offset = 0",
                             "flip header.l1_table_offset bit 63", "set header.l1_size = 4194305"}) {
    const ExaminedRecipe examined(std::string("image\ndamage:\n") + damage);
    EXPECT_FALSE(examined.image.l1_usable) << damage;
    EXPECT_TRUE(examined.image.refcount_table_usable) << damage;
    EXPECT_EQ(examined.region(Kind::active_l1), nullptr) << damage;
    EXPECT_EQ(examined.image.doubts.size(), 1U) << damage;
    ASSERT_EQ(examined.findings.size(), 1U) << damage;
    EXPECT_EQ(examined.findings.front().guest, std::vector{guest(0, 1 << 20)}) << damage;
  }
  for (const auto* damage :
       {"set header.refcount_table_offset += 512", "set header.refcount_table_offset = 0",
        "flip header.refcount_table_offset bit 63", "set header.refcount_table_clusters = 129",
        "set header.refcount_table_clusters = 0"}) {
    const ExaminedRecipe examined(std::string("image\ndamage:\n") + damage);
    EXPECT_TRUE(examined.image.l1_usable) << damage;
    EXPECT_FALSE(examined.image.refcount_table_usable) << damage;
    EXPECT_EQ(examined.region(Kind::refcount_table), nullptr) << damage;
    EXPECT_EQ(examined.image.doubts.size(), 1U) << damage;
    EXPECT_EQ(examined.findings.size(), 1U) << damage;
  }
}

TEST(HeaderChecks, TablesThatEndAtTheLastPossibleByteDoNotOverflow) {
  // 2^63 - 4096 is the last aligned offset; a table of 512 entries ends at 2^63, one byte too far.
  const std::string_view image = "image cluster_size=4K size=1G l1_entries=512\ndamage:\n";
  EXPECT_EQ(ExaminedRecipe(std::string(image) + "set header.l1_table_offset = 0x7ffffffffffff000")
                .of("header/l1-offset-overflow"_rule)
                .size(),
            1U);
  const ExaminedRecipe fits(
      "image cluster_size=4K size=8M l1_entries=511\ndamage:\nset header.l1_table_offset = "
      "0x7ffffffffffff000");
  EXPECT_TRUE(fits.of("header/l1-offset-overflow"_rule).empty());
  EXPECT_EQ(fits.of("l1/table-past-eof"_rule).size(), 1U);
}

TEST(HeaderChecks, WhatMayHideOwnersIsDoubted) {
  const auto doubts = [](std::string_view recipe) { return ExaminedRecipe(recipe).image.doubts.size(); };
  EXPECT_EQ(doubts("image\ndamage:\nflip header.incompatible_features bit 63"), 1U);
  EXPECT_EQ(doubts("image\ndamage:\nflip header.autoclear_features bit 63"), 1U);
  EXPECT_EQ(doubts("image\nextension 0x12345678 \"x\""), 1U);
  EXPECT_EQ(doubts("image\ndamage:\nset header.header_length = 96"), 1U);
  EXPECT_EQ(doubts("image\ndamage:\nflip header.version bit 0"), 1U);
  EXPECT_EQ(doubts("image\nfeature_names\ndamage:\nset ext[0].length = -1"), 1U);
  EXPECT_EQ(doubts("image encryption=luks\ndamage:\nset ext[encryption].length = 24"), 1U);
  EXPECT_EQ(
      doubts(
          "image encryption=luks\nextension 0x0537be77 hex 00 00 00 00 00 01 00 00 00 00 00 00 00 00 02 00"),
      1U);
  EXPECT_EQ(doubts("image\nsnapshot\ndamage:\nset header.snapshots_offset = 0"), 1U);
  EXPECT_EQ(doubts("image\nsnapshot\ndamage:\nset header.nb_snapshots = 0"), 1U);
  EXPECT_EQ(doubts("image cluster_size=4K size=8M\ndamage:\nset header.size = 11M"), 1U);
}

TEST(HeaderChecks, WhatHidesNoOwnersIsNotDoubted) {
  const auto doubts = [](std::string_view recipe) { return ExaminedRecipe(recipe).image.doubts.size(); };
  EXPECT_EQ(doubts("image dirty corrupt"), 0U);
  EXPECT_EQ(doubts("image\ndamage:\nflip header.compatible_features bit 63"), 0U);
  EXPECT_EQ(doubts("image\ndamage:\nset header.crypt_method = 3"), 0U);
  EXPECT_EQ(doubts("image\nbacking \"b\" format=raw\ndamage:\nset header.backing_file_size = 1024"), 0U);
  EXPECT_EQ(doubts("image\nextension 0xe2792aca \"raw\"\nextension 0xe2792aca \"raw\""), 0U);
}

TEST(HeaderChecks, AnUnknownFeatureIsCalledByItsNameAndTheNameIsEscaped) {
  const auto with_name = [](std::string_view name) {
    std::string padded(name);
    for (std::size_t i = name.size(); i < 46; ++i) padded += "\\0";
    return "image\nextension 0x6803f857 \"\\x00\\x29" + padded +
           "\"\ndamage:\nflip header.incompatible_features bit 41\nflip header.incompatible_features bit 5";
  };
  EXPECT_EQ(ExaminedRecipe(with_name("tomorrow")).only("feature/incompatible-unknown"_rule).detail,
            "Set: bit 5, bit 41 (\"tomorrow\").");
  std::string hostile("to\\x1b");
  hostile += std::string(43, 'x');
  EXPECT_EQ(ExaminedRecipe("image\nextension 0x6803f857 \"\\x00\\x29" + hostile +
                           "\"\ndamage:\nflip header.incompatible_features bit 41")
                .only("feature/incompatible-unknown"_rule)
                .detail,
            "Set: bit 41 (\"to\\x1b" + std::string(43, 'x') + "\").");
}

TEST(HeaderChecks, TheMilderHalfOfASnapshotPointerPairIsANote) {
  EXPECT_EQ(ExaminedRecipe("image\nsnapshot\ndamage:\nset header.nb_snapshots = 0")
                .only("header/snapshot-pointer-pair"_rule)
                .severity,
            Severity::note);
  EXPECT_EQ(ExaminedRecipe("image\nsnapshot\ndamage:\nset header.snapshots_offset = 0")
                .only("header/snapshot-pointer-pair"_rule)
                .severity,
            Severity::fatal);
}

TEST(HeaderChecks, AnUnreadableFirstSectorIsAnIoErrorAndNotAWrongMagic) {
  storage::MemoryDevice bytes(bytes_of("image"));
  const storage::FaultDevice device(bytes, {{.begin = 0, .end = 512, .persistent = true}});
  const Examined examined(device);
  EXPECT_FALSE(examined.of("file/io-error"_rule).empty());
  EXPECT_TRUE(examined.of("header/magic"_rule).empty());
  EXPECT_TRUE(examined.of("header/file-too-short"_rule).empty());
}

TEST(HeaderChecks, ABadSectorBehindTheHeaderLeavesTheHeaderUsable) {
  storage::MemoryDevice bytes(bytes_of("image cluster_size=4K"));
  const storage::FaultDevice device(bytes, {{.begin = 2048, .end = 2560, .persistent = true}});
  const Examined examined(device);
  EXPECT_EQ(examined.of("file/io-error"_rule).size(), 1U);
  ASSERT_TRUE(examined.image.geometry);
  EXPECT_TRUE(examined.image.l1_usable);
}

// Whatever the first cluster holds, the check ends, and every finding about a field lies inside the first cluster.
RC_GTEST_PROP(HeaderChecks, GarbageBehindTheMagicIsJudgedToTheEnd, (std::vector<std::uint8_t> garbage)) {
  auto bytes =
      bytes_of("image cluster_size=512 size=64K\nbacking \"base\" format=raw\nextension 1 \"x\"\ndata 0..3");
  const auto at = *rc::gen::inRange<std::size_t>(4, 400);
  for (std::size_t i = 0; i < garbage.size() && at + i < 512; ++i) bytes[at + i] = std::byte{garbage[i]};
  const storage::MemoryDevice device(std::move(bytes));
  const Examined examined(device);
  for (const auto& finding : examined.findings)
    if (finding.where.starts_with("header."))
      RC_ASSERT(finding.host && finding.host->begin.raw() + finding.host->length <= 512U);
}

}  // namespace
}  // namespace cowvet::analyzer
