// What the corpus can't say about bitmaps: whose clusters are whose, directories and tables too large for a recipe, and
// images that want to exhaust the reader.
#include <gtest/gtest.h>

#include "storage/fault.hpp"
#include "tests/analyzer/checked.hpp"

namespace cowvet::analyzer {
namespace {

using namespace findings::literals;

// Where the extension that names the directory lies in an image with bitmaps.
std::uint64_t extension_of(const Bytes& image) {
  for (const auto& extension : image.layout.extensions)
    if (extension.type == 0x23852875) return extension.offset + 8;
  ADD_FAILURE() << "no bitmaps extension";
  return 0;
}

TEST(BitmapChecks, HandOnOneRegionForEachRunOfData) {
  // Three data clusters in a row, a gap in the table, one more.
  const Bytes image(
      "image cluster_size=512 size=64M\n"
      "bitmap granularity=512 set=0,4096,8192,16384");
  const Checked checked(*image.device());
  EXPECT_TRUE(checked.findings.empty());
  EXPECT_TRUE(checked.image.bitmaps_owned);
  const auto& place = image.layout.bitmaps[0];
  const auto data = checked.regions(Kind::bitmap_data);
  ASSERT_EQ(data.size(), 2U);
  EXPECT_EQ(data[0].begin.raw(), place.data.at(0));
  EXPECT_EQ(data[0].length, 3U * 512);
  EXPECT_EQ(data[0].where(), "bitmap[0].table[0]");
  EXPECT_EQ(data[1].begin.raw(), place.data.at(4));
  EXPECT_EQ(data[1].length, 512U);
  EXPECT_EQ(data[1].where(), "bitmap[0].table[4]");
  const auto table = checked.regions(Kind::bitmap_table);
  ASSERT_EQ(table.size(), 1U);
  EXPECT_EQ(table[0].begin.raw(), place.table.offset);
  EXPECT_EQ(table[0].length, 32U * 8);
  EXPECT_EQ(table[0].where(), "bitmap[0].table");
  const auto directory = checked.regions(Kind::bitmap_directory);
  ASSERT_EQ(directory.size(), 1U);
  EXPECT_EQ(directory[0].length, image.layout.bitmap_directory.length);
  EXPECT_TRUE(checked.image.doubts.empty());
}

TEST(BitmapChecks, OwnNothingUnlessTheAutoclearBitVouchesForThem) {
  const Checked stale(*Bytes("image\nbitmap granularity=64K set=0..3\ndamage:\n"
                             "set header.autoclear_features = 0\n"
                             "set bitmap[0].type = 7")
                           .device());
  EXPECT_FALSE(stale.image.bitmaps_owned);
  EXPECT_TRUE(stale.image.bitmaps.empty());
  EXPECT_TRUE(stale.regions(Kind::bitmap_directory).empty());
  EXPECT_EQ(stale.times("bitmap/type"_rule), 0U);
  EXPECT_TRUE(stale.doubts("the bitmaps are stale"));
}

TEST(BitmapChecks, ReadADirectoryThatIsLongerThanWhatIsInMemoryAtOnce) {
  std::string recipe = "image\n";
  for (int i = 0; i < 700; ++i)
    recipe += "bitmap granularity=64K name=n" + std::to_string(i) + std::string(900, 'n') + "\n";
  const Bytes image(recipe);
  ASSERT_GT(image.layout.bitmap_directory.length, 600'000U);
  const Checked checked(*image.device());
  EXPECT_TRUE(checked.findings.empty());
  EXPECT_EQ(checked.image.bitmaps.size(), 700U);
  EXPECT_EQ(checked.image.bitmaps[699].data.name.size(), 256U);
}

TEST(BitmapChecks, ReadEntriesThatTheNumberLeavesOut) {
  const Checked checked(
      *Bytes("image\nbitmap name=b0 granularity=64K\nbitmap name=b1 granularity=64K set=1\ndamage:\n"
             "set ext[bitmaps].count = 1")
           .device());
  EXPECT_EQ(checked.image.bitmaps.size(), 2U);
  EXPECT_EQ(checked.regions(Kind::bitmap_data).size(), 1U);
  EXPECT_EQ(checked.only("bitmap/directory-count"_rule).expected, findings::Value::dec(2));
}

TEST(BitmapChecks, LetADirectoryOfDamagedSizeClaimNothingBehindItsEntries) {
  const Bytes image("image\nbitmap name=b0 granularity=64K\ndamage:\nset ext[bitmaps].directory_size = 32M");
  const Checked checked(*image.device());
  EXPECT_EQ(checked.times("bitmap/directory-past-eof"_rule), 1U);
  EXPECT_EQ(checked.image.bitmaps.size(), 1U);
  EXPECT_EQ(checked.regions(Kind::bitmap_directory).front().length, image.layout.bitmap_directory.length);
}

TEST(BitmapChecks, FindTheTableOfABitmapWhoseTableSizeIsImpossible) {
  const Bytes image("image\nbitmap name=b0 granularity=64K set=3\ndamage:\nset bitmap[0].table_size = -1");
  const Checked checked(*image.device());
  ASSERT_EQ(checked.regions(Kind::bitmap_table).size(), 1U);
  EXPECT_EQ(checked.regions(Kind::bitmap_table).front().length, 8U);
  EXPECT_EQ(checked.regions(Kind::bitmap_data).size(), 1U);
  EXPECT_FALSE(checked.image.bitmaps[0].usable);
}

TEST(BitmapChecks, OwnWhatIsLeftOfATableThatIsCut) {
  Bytes image("image cluster_size=512 size=64M\nbitmap granularity=512 set=0..131071");
  const std::uint64_t end = image.bytes.size();
  const std::uint64_t table = (end + 511) / 512 * 512;
  image.store(image.layout.bitmaps[0].offset, 8, table);
  for (std::uint64_t i = 0; i < 10; ++i) image.store(table + i * 8, 8, image.layout.bitmaps[0].data.at(i));
  const Checked checked(*image.device());
  EXPECT_EQ(checked.only("bitmap/table-past-eof"_rule).host->begin.raw(), table);
  std::uint64_t owned = 0;
  for (const auto& region : checked.regions(Kind::bitmap_data)) owned += region.length;
  EXPECT_EQ(owned, 10U * 512);
}

TEST(BitmapChecks, TellADeviceThatFailsFromATableThatIsDamaged) {
  const Bytes image("image\nbitmap name=b0 granularity=64K set=0");
  const auto under = image.device();
  const std::uint64_t table = image.layout.bitmaps[0].table.offset;
  const storage::FaultDevice broken_table(*under, {{.begin = table, .end = table + 512, .persistent = true}});
  const Checked without_table(broken_table);
  EXPECT_EQ(without_table.only("file/io-error"_rule).where, "bitmap[0].table");
  EXPECT_TRUE(without_table.doubts("a bitmap's table can't be read"));
  const std::uint64_t directory = image.layout.bitmap_directory.offset;
  const storage::FaultDevice broken_directory(
      *under, {{.begin = directory, .end = directory + 512, .persistent = true}});
  const Checked without_directory(broken_directory);
  EXPECT_EQ(without_directory.findings.size(), without_directory.of("file/io-error"_rule).size());
  EXPECT_TRUE(without_directory.doubts("the bitmap directory can't be read"));
}

TEST(BitmapChecks, ReadBitsBehindTheDiskOnlyWhenAskedToLookDeep) {
  const Bytes image(
      "image\nbitmap name=b0 granularity=64K set=0\ndamage:\nwrite @bitmap[0].data[0] + 65535 u8 128");
  Options deep;
  deep.deep = true;
  EXPECT_EQ(Checked(*image.device()).times("bitmap/data-tail"_rule), 0U);
  EXPECT_EQ(Checked(*image.device(), deep).times("bitmap/data-tail"_rule), 1U);
}

TEST(BitmapChecks, StopAtTablesThatAreLargerThanTheFile) {
  // 65535 bitmaps that all name one table of 8 MiB in a hole.
  Bytes image("image cluster_size=512 size=128M\nbitmap name=b granularity=64K");
  const std::uint64_t table = (image.bytes.size() + 511) / 512 * 512, length = 8 << 20;
  const std::uint64_t directory = table + length;
  constexpr std::uint64_t count = 65535;
  for (std::uint64_t i = 0; i < count; ++i) {
    const std::uint64_t at = directory + i * 32;
    image.store(at, 8, table);
    image.store(at + 8, 4, length / 8);
    image.store(at + 12, 4, 1);  // in use: any size is allowed
    image.store(at + 16, 4, 0x01100005);
    image.store(at + 24, std::to_string(10000 + i).substr(0, 5));
  }
  image.bytes.resize(directory + count * 32);
  image.store(extension_of(image), 4, count);
  image.store(extension_of(image) + 8, 8, count * 32);
  image.store(extension_of(image) + 16, 8, directory);
  const Checked checked(*image.device());
  EXPECT_EQ(checked.image.bitmaps.size(), count);
  EXPECT_LE(checked.regions(Kind::bitmap_table).size(), 10U);
  EXPECT_EQ(checked.times("security/bitmap-memory"_rule), 1U);
  EXPECT_TRUE(checked.doubts("larger than the file"));
}

TEST(BitmapChecks, BoundTheRegionsOfScatteredData) {
  Bytes image(
      "image cluster_size=512 size=128G\nbitmap name=a granularity=512\nbitmap name=b granularity=512");
  for (const auto& bitmap : image.layout.bitmaps)
    for (std::uint64_t i = 0; i < bitmap.table.length / 8; ++i)
      image.store(bitmap.table.offset + i * 8, 8, 0x200 + i % 100 * 0x400);
  const Checked checked(*image.device());
  EXPECT_EQ(checked.regions(Kind::bitmap_data).size(), 65536U);
  EXPECT_TRUE(checked.doubts("too scattered"));
}

}  // namespace
}  // namespace cowvet::analyzer
