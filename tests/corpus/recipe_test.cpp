// The language of recipes: what paths mean, what the verbs do, how mistakes are answered.
#include "corpus/builder/recipe.hpp"

#include <string>

#include <gtest/gtest.h>

#include "corpus/builder/image.hpp"

namespace cowvet::corpus {
namespace {

constexpr const char* sample =
    "# Sound.\n"
    "image size=2G cluster_size=64K\n"
    "feature_names\n"
    "backing \"base.qcow2\" format=qcow2\n"
    "extension 0x12345678 \"abc\"\n"
    "data 0..3,8192\n"
    "compressed 4..6\n"
    "snapshot name=first vm_state=100K\n"
    "data 1\n"
    "bitmap name=b0 set=0..3\n"
    "reserve spare clusters=2 fill=0x55\n";

BuiltImage from_recipe(const std::string& recipe) {
  auto image = build(recipe);
  EXPECT_TRUE(image) << (image ? "" : image.error().message);
  return image ? std::move(*image) : BuiltImage{};
}

BuiltImage damaged(const std::string& damage) {
  return from_recipe(sample + std::string("damage:\n") + damage + "\n");
}

std::string mistake(const std::string& recipe) {
  const auto image = build(recipe, "r");
  return image ? std::string("none") : image.error().message;
}

std::string damage_mistake(const std::string& damage) {
  auto message = mistake(std::string(sample) + "damage:\n" + damage + "\n");
  return message.substr(message.find(": ") + 2);
}

// The value of an expression, taken through a line that stores it.
std::uint64_t value(const std::string& expression) {
  return damaged("write 0 u64 " + expression).file.load(0, 8);
}

TEST(Paths, mean_the_places_that_the_specification_gives_them) {
  EXPECT_EQ(value("@header.version"), 4U);
  EXPECT_EQ(value("@header.incompatible_features"), 72U);
  EXPECT_EQ(value("@header.compression_type"), 104U);
  EXPECT_EQ(value("header.cluster_bits"), 16U);
  EXPECT_EQ(value("header.size"), 2ULL << 30);
  EXPECT_EQ(value("@reftable"), 0x10000U);
  EXPECT_EQ(value("@reftable[1]"), 0x10008U);
  EXPECT_EQ(value("reftable[0].offset"), value("@refblock[0]"));
  EXPECT_EQ(value("@refcount[5]"), value("@refblock[0] + 10"));
  EXPECT_EQ(value("@refblock[0][5]"), value("@refcount[5]"));
  EXPECT_EQ(value("header.l1_table_offset"), value("@l1"));
  EXPECT_EQ(value("l1[0] & ~(1 << 63)"), value("@l2[0]"));
  EXPECT_EQ(value("@l2[1][3]"), value("l1[1].offset + 24"));
  EXPECT_EQ(value("l2[0][1].offset"), value("@data[1]"));
  EXPECT_EQ(value("l2[0][5].stream"), value("@data[5]"));
  EXPECT_EQ(value("l2[0][5].compressed"), 1U);
  EXPECT_EQ(value("l2[1][0].offset"), value("@data[8192]"));
  EXPECT_EQ(value("header.snapshots_offset"), value("@snapshot_table"));
  EXPECT_EQ(value("@snapshot[0].name"), value("@snapshot_table + 40 + 24 + 1"));
  EXPECT_EQ(value("snapshot[0].vm_state_size_large"), 100U << 10);
  EXPECT_EQ(value("snapshot[0].disk_size"), 2ULL << 30);
  EXPECT_EQ(value("snapshot[0].l1_table_offset"), value("@snapshot[0].l1"));
  EXPECT_EQ(value("@snapshot[0].data[2]"), value("@data[2]"));
  EXPECT_NE(value("@snapshot[0].data[1]"), value("@data[1]"));
  EXPECT_EQ(value("ext[bitmaps].directory_offset"), value("@bitmap_directory"));
  EXPECT_EQ(value("bitmap[0].table_offset"), value("@bitmap[0].table"));
  EXPECT_EQ(value("bitmap[0].table[0].offset"), value("@bitmap[0].data[0]"));
  EXPECT_EQ(value("@ext[0x12345678].data"), value("@ext[0x12345678] + 8"));
  EXPECT_EQ(value("ext[0].type"), 0xE2792ACAU);
  EXPECT_EQ(value("ext[feature_names].record[2].bit"), 2U);
  EXPECT_EQ(value("@backing_name"), value("header.backing_file_offset"));
  EXPECT_EQ(value("refcount[@data[2]]"), 2U);
  EXPECT_EQ(value("refcount[@l1]"), 1U);
  EXPECT_EQ(value("@end"), value("end"));
  EXPECT_EQ(value("cluster 3 + 5"), 0x30005U);
}

TEST(Paths, reach_luks_slots_and_subclusters) {
  const auto luks = from_recipe(
      "image encryption=luks\ndamage:\nset luks.slot[2].stripes = 4001\nset luks.cipher_name = \"xyz\"\n");
  EXPECT_EQ(luks.file.load(luks.layout.luks->offset + 208 + 2 * 48 + 44, 4), 4001U);
  EXPECT_EQ(luks.file.load(luks.layout.luks->offset + 8, 4), 0x78797a00U);
  const auto extended = from_recipe(
      "image extended_l2\nsubclusters 3 allocated=0..3 zero=31\ndamage:\n"
      "set l2[0][3].subclusters.zero |= 1\nflip l2[0][3].subclusters.allocated bit 31\n");
  const auto at = extended.layout.active.l2.at(0) + 3 * 16;
  EXPECT_EQ(extended.file.load(at + 8, 8), 0x80000001'8000000fU);
  EXPECT_EQ(luks.file.load(luks.layout.extensions[0].offset + 4, 4), 16U);
  const auto longer = from_recipe("image encryption=luks\ndamage:\nset ext[encryption].data.length = 5\n");
  EXPECT_EQ(longer.file.load(longer.layout.extensions[0].offset + 16, 8), 5U);
  EXPECT_EQ(longer.file.load(longer.layout.extensions[0].offset + 4, 4), 16U);
  EXPECT_EQ(extended.file.load(at, 8), extended.layout.pristine.load(at, 8));
}

TEST(Paths, reach_extra_data_and_names_behind_it) {
  const auto image = from_recipe(
      "image\nsnapshot name=s extra=32\nbitmap name=b extra=8\ndamage:\nset bitmap[0].name = \"x\"\n");
  const auto& bitmap = image.layout.bitmaps.at(0);
  EXPECT_EQ(image.file.load(bitmap.offset + 20, 4), 8U);
  EXPECT_EQ(image.file.load(bitmap.offset + 24, 8), 0xeeeeeeeeeeeeeeeeU);
  EXPECT_EQ(image.file.load(bitmap.offset + 32, 1), 0x78U);
  EXPECT_EQ(image.file.load(image.layout.snapshots.at(0).offset + 40 + 24, 8), 0xeeeeeeeeeeeeeeeeU);
}

// A path stands for where the structure lay, not for where damaged bytes now point.
TEST(Paths, survive_the_damage_done_before) {
  const auto image = damaged("zero @l1\nset header.cluster_bits = 9\nset l2[0][3] = 7");
  EXPECT_EQ(image.file.load(image.layout.active.l2.at(0) + 24, 8), 7U);
  EXPECT_EQ(image.file.load(20, 4), 9U);
}

TEST(Paths, reach_refcounts_of_every_width) {
  for (const char* bits : {"1", "2", "4", "8", "16", "32", "64"}) {
    const auto image = from_recipe(std::string("image refcount_bits=") + bits +
                                   "\ndata 0..2\ndamage:\nset refcount[@data[1]] = 0\n");
    const auto place = *image.layout.refcount_of(image.layout.data_of(image.layout.active, 1)->offset >> 16);
    const std::uint64_t mask = ~0ULL >> (64 - image.layout.geometry.refcount_bits()) << place.low_bit;
    const auto before = image.layout.pristine.load(place.offset, place.width);
    EXPECT_EQ(before & mask, 1ULL << place.low_bit) << bits;
    EXPECT_EQ(image.file.load(place.offset, place.width), before & ~mask) << bits;
  }
}

TEST(Damage, changes_only_what_it_names) {
  const auto sound = from_recipe(sample);
  const auto differs = [&](const std::string& damage) {
    const auto image = damaged(damage);
    std::vector<std::uint64_t> at;
    const auto a = sound.file.bytes();
    const auto b = image.file.bytes();
    for (std::size_t i = 0; i < std::min(a.size(), b.size()); ++i)
      if (a[i] != b[i]) at.push_back(i);
    return at;
  };
  using Places = std::vector<std::uint64_t>;
  EXPECT_EQ(differs("set header.version = 2"), Places{7});
  EXPECT_EQ(differs("flip header.version bit 0"), Places{7});
  EXPECT_EQ(differs("flip header.version bit 31"), Places{4});
  EXPECT_EQ(differs("flip 0x7 bit 3"), Places{7});
  EXPECT_EQ(differs("set header.incompatible_features.corrupt = 1"), Places{79});
  EXPECT_EQ(differs("set header.nb_snapshots += 256"), Places{62});
  EXPECT_EQ(differs("set l1[1].copied = 0").size(), 0U);  // shared with the snapshot: clear already
  EXPECT_EQ(differs("set l1[0].copied ^= 1"), Places{sound.layout.active.l1_offset});
  EXPECT_EQ(differs("write @l1 hex 11 22"),
            (Places{sound.layout.active.l1_offset, sound.layout.active.l1_offset + 1}));
  EXPECT_EQ(differs("set snapshot[0].name = \"f\"").size(), 4U);  // the rest becomes zeros
  EXPECT_EQ(differs("fill @header + 4 for 2 with 0xff"), (Places{4, 5}));
  EXPECT_EQ(differs("fill 4 for 3 with hex 00 01"), (Places{5}));
  EXPECT_EQ(differs("zero @spare").size(), 2U << 16);
  EXPECT_EQ(differs("hole @spare").size(), 2U << 16);
  EXPECT_EQ(differs("copy @spare + 8 for 4 to 0").size(), 4U);
  EXPECT_EQ(differs("swap 0 for 2 with @spare").size(), 4U);
  EXPECT_EQ(differs("noise 0 for 64 seed 5").size(), 64U);
}

TEST(Damage, changes_the_length) {
  const auto size = from_recipe(sample).file.size();
  EXPECT_EQ(damaged("truncate -512").file.size(), size - 512);
  EXPECT_EQ(damaged("truncate +1T").file.size(), size + (1ULL << 40));
  EXPECT_EQ(damaged("truncate @l1").file.size(), 0x30000U);
  EXPECT_EQ(damaged("append 100 with 0xaa").file.load(size + 92, 8), 0xaaaaaaaaaaaaaaaaU);
  EXPECT_EQ(damaged("append \"tail\"").file.size(), size + 4);
}

TEST(Damage, reaches_the_data_file) {
  const std::string image = "image size=128K\ndatafile x raw\ndata 0\ndamage:\n";
  EXPECT_EQ(from_recipe(image + "datafile truncate -512\n").data_file->size(), (128U << 10) - 512);
  EXPECT_EQ(from_recipe(image + "datafile write 512 u32 7\n").data_file->load(512, 4), 7U);
  EXPECT_FALSE(from_recipe(image + "datafile remove\n").data_file);
  EXPECT_EQ(damage_mistake("datafile truncate 0"),
            "the image has no data file; write datafile \"NAME\" above damage:");
}

TEST(Damage, leaves_holes_where_it_says_so) {
  auto written = [](const BuiltImage& image, std::uint64_t offset) {
    for (auto e : image.file.extents())
      if (e.offset <= offset && offset < e.offset + e.length) return true;
    return false;
  };
  const auto spare = from_recipe(sample).layout.reserved.at("spare").offset;
  EXPECT_TRUE(written(damaged("zero @spare"), spare));
  EXPECT_FALSE(written(damaged("hole @spare"), spare));
}

TEST(Expressions, have_the_usual_operators) {
  EXPECT_EQ(value("1 + 2 * 3"), 7U);
  EXPECT_EQ(value("(1 + 2) * 3 - 4 / 2"), 7U);
  EXPECT_EQ(value("1 << 63 | 0x10"), 0x8000000000000010U);
  EXPECT_EQ(value("-1"), ~0ULL);
  EXPECT_EQ(value("~0 & 0xff"), 0xffU);
  EXPECT_EQ(value("2K + 1M"), 2048U + (1U << 20));
  EXPECT_EQ(value("7 % 4"), 3U);
  EXPECT_EQ(value("7 / 0"), 0U);
}

TEST(Expectations, name_rules_and_places) {
  const auto image =
      from_recipe(sample + std::string("expect refcount/leak at @spare, l2/reserved\n"
                                       "damage:\ntruncate -1\n"
                                       "expect-deep compressed/undecodable at @data[4]   # why\nexit 3\n"));
  ASSERT_EQ(image.expected.size(), 3U);
  EXPECT_EQ(image.expected[0].rule, "refcount/leak");
  EXPECT_EQ(image.expected[0].offset, image.layout.reserved.at("spare").offset);
  EXPECT_FALSE(image.expected[0].deep);
  EXPECT_EQ(image.expected[1].rule, "l2/reserved");
  EXPECT_FALSE(image.expected[1].offset);
  EXPECT_TRUE(image.expected[2].deep);
  EXPECT_EQ(image.expected[2].rule, "compressed/undecodable");
  EXPECT_EQ(image.exit, 3);
  EXPECT_EQ(image.title, "Sound.");
  EXPECT_TRUE(from_recipe("image\n").expected.empty());
}

TEST(Mistakes, are_answered_with_the_line_and_the_remedy) {
  EXPECT_TRUE(
      mistake("image sise=1M\n").starts_with("r:1: 'image' has no option 'sise'; there are version,"));
  EXPECT_EQ(mistake("\n# c\nimage size=1Q\n"),
            "r:3: a number can't be followed by 'Q'; units are K, M, G, T, P and E");
  EXPECT_EQ(mistake("image size=1M size=2M\n"), "r:1: option 'size' is given twice");
  EXPECT_EQ(mistake("data 0\nimage size=1M\n"),
            "r:2: write the image line before everything that fills the image");
  EXPECT_EQ(mistake("image cluster_size=60K\n"), "r:1: 61440 is no power of two");
  EXPECT_EQ(mistake("image compression=lzma\n"), "r:1: 'lzma' is none of zlib and zstd");
  EXPECT_EQ(mistake("data 0..x\n"), "r:1: 'x' is known below damage: only; write a number");
  EXPECT_TRUE(mistake("datta 0\n").starts_with("r:1: a recipe has no 'datta'; there are image,"));
  EXPECT_EQ(mistake("set header.version = 2\n"), "r:1: 'set' damages the image; write it below damage:");
  EXPECT_EQ(mistake("damage:\ndata 0\n"), "r:2: 'data' describes the sound image; write it above damage:");
  EXPECT_EQ(mistake("expect leak\n"), "r:1: 'leak' is no rule; write area/name, such as refcount/leak");
  EXPECT_EQ(mistake("subclusters 0 allocated=0\n"), "r:1: only images with extended_l2=yes have subclusters");
  EXPECT_TRUE(
      damage_mistake("sett header.version = 2").starts_with("damage has no 'sett'; there are set, flip,"));
  EXPECT_TRUE(damage_mistake("set header.versio = 2")
                  .starts_with("there is no 'versio' here; there are magic, version,"));
  EXPECT_EQ(damage_mistake("set l2[0][3].ofset = 0"),
            "there is no part 'ofset' in this word; there are zero, reserved_low, offset, reserved_high, "
            "compressed and copied");
  EXPECT_EQ(damage_mistake("set l2[0][9000] = 0"), "an L2 table has 8192 entries");
  EXPECT_EQ(damage_mistake("set l2[5][0] = 0"), "L1 entry 5 leads to no L2 table");
  EXPECT_EQ(damage_mistake("set l2[0] = 0"),
            "that is 65536 bytes and no number; write a text or hex, or use fill or write");
  EXPECT_EQ(damage_mistake("set l1[9] = 0"), "'l1[9]' is not there; the L1 entries are 0 to 4");
  EXPECT_EQ(damage_mistake("set header.version = 0x100000000"),
            "0x100000000 does not fit into 32 bits here; set the whole word");
  EXPECT_EQ(damage_mistake("set l2[0][3].offset += 3"),
            "0x80003 does not fit into 47 bits here; set the whole word");
  EXPECT_EQ(damage_mistake("set l2[0][3].offset.x = 3"), "'offset' has no parts, so '.x' names nothing");
  EXPECT_EQ(damage_mistake("set luks.version = 3"), "the image has no LUKS header; write encryption=luks");
  EXPECT_EQ(damage_mistake("set bitmap[1].flags = 3"), "'bitmap[1]' is not there; the bitmaps are 0 to 0");
  EXPECT_EQ(damage_mistake("fill 100 with 3"), "how many bytes? write 'for N' after the place");
  EXPECT_EQ(damage_mistake("zero cluster 1 2"), "nothing can follow here, but '2' does");
  EXPECT_TRUE(damage_mistake("set ext[nothing].type = 2")
                  .starts_with("no extension is called 'nothing'; there are end,"));
  EXPECT_EQ(damage_mistake("flip header.version bit 32"), "there is no bit 32 here");
  EXPECT_EQ(damage_mistake("set spare = 1"),
            "that is 131072 bytes and no number; write a text or hex, or use fill or write");
  EXPECT_EQ(damage_mistake("set snapshot[0].name = \"longer name\""),
            "that is 11 bytes, but there are only 5");
  EXPECT_EQ(damage_mistake("write 0 \"open"), "the text has no closing \"");
}

}  // namespace
}  // namespace cowvet::corpus
