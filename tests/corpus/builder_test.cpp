// Every combination of the format's options gives an image that qemu-img calls sound and that reads as the
// builder says.
#include <fstream>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "corpus/builder/cases.hpp"
#include "corpus/builder/image.hpp"
#include "corpus/builder/recipe.hpp"
#include "tests/corpus/qemu.hpp"

namespace cowvet::corpus {
namespace {

using testing::have_qemu;
using testing::judge;

BuiltImage built(const std::string& recipe) {
  auto image = build(recipe);
  EXPECT_TRUE(image) << (image ? "" : image.error().message) << "\n" << recipe;
  return image ? std::move(*image) : BuiltImage{};
}

// What goes into a disk of a given geometry: a bit of everything that its options allow.
struct Form {
  int version = 3;
  int cluster_bits = 16;
  int refcount_bits = 16;
  bool extended = false;
  std::string compression = {};  // empty: no compressed clusters
  std::string more = {};         // of the image line
  std::string head = {};         // statements before the content
  int snapshots = 0;
  bool bitmaps = false;
};

// 40 clusters, the last of them cut where it can be.
std::uint64_t disk_of(const Form& form) {
  return (40ULL << form.cluster_bits) - (form.cluster_bits > 9 ? 512 : 0);
}

std::string recipe_of(const Form& form) {
  const std::uint64_t cluster = 1ULL << form.cluster_bits;
  std::string text = fmt::format(
      "image version={} cluster_bits={} refcount_bits={} size={} extended_l2={} {}\n", form.version,
      form.cluster_bits, form.refcount_bits, disk_of(form), form.extended ? "yes" : "no", form.more);
  if (!form.compression.empty()) text += fmt::format("image compression={}\n", form.compression);
  text += form.head;
  text += "data 0..3,39\ndata 10 content=noise\n";
  if (form.version >= 3) text += "zero 4\nzero 5 preallocated\n";
  if (!form.compression.empty()) text += "compressed 12..19\n";
  if (form.extended)
    text +=
        "subclusters 20 allocated=0..3 zero=4..7\nsubclusters 21 zero=31\nsubclusters 22 preallocated\n"
        "subclusters 23 allocated=1,30 content=noise\n";
  for (int i = 0; i < form.snapshots; ++i) {
    text += fmt::format("snapshot name=s{} vm_state={}\n", i, i * 100000);
    text += "data 1,11\nunmap 2\n";
    if (!form.compression.empty()) text += "compressed 13,24\ndata 14\n";
    if (form.version >= 3) text += "zero 3 preallocated\nzero 12\n";
    if (form.extended) text += "subclusters 20 allocated=5\n";
  }
  if (form.bitmaps)
    text += fmt::format(
        "bitmap name=b granularity={} set=0..3,20\nbitmap name=all granularity=512 set=0..{} ones\n", cluster,
        disk_of(form) / 512 - 1);
  return text;
}

void expect_sound(const Form& form) {
  const auto recipe = recipe_of(form);
  EXPECT_EQ(judge(built(recipe)), "") << recipe;
}

TEST(GoodImages, of_every_cluster_size_and_refcount_width) {
  if (!have_qemu()) GTEST_SKIP() << "qemu-img is not installed";
  for (int cluster_bits = 9; cluster_bits <= 21; ++cluster_bits)
    expect_sound({.cluster_bits = cluster_bits, .refcount_bits = 1 << (cluster_bits % 7)});
  for (int order = 0; order <= 6; ++order) expect_sound({.cluster_bits = 9, .refcount_bits = 1 << order});
}

TEST(GoodImages, of_version_2) {
  if (!have_qemu()) GTEST_SKIP() << "qemu-img is not installed";
  for (int cluster_bits : {9, 12, 16})
    for (int snapshots : {0, 2})
      expect_sound(
          {.version = 2, .cluster_bits = cluster_bits, .compression = "zlib", .snapshots = snapshots});
}

TEST(GoodImages, with_compressed_clusters_that_share_and_cross_host_clusters) {
  if (!have_qemu()) GTEST_SKIP() << "qemu-img is not installed";
  for (const char* codec : {"zlib", "zstd"}) {
    for (int cluster_bits : {9, 10, 12, 16, 21})
      expect_sound({.cluster_bits = cluster_bits, .compression = codec, .snapshots = cluster_bits % 2});
    // With 1-bit refcounts no two streams can share a cluster.
    expect_sound({.refcount_bits = 1, .compression = codec});
  }
  EXPECT_EQ(
      judge(built("image cluster_size=4K size=1M\ncompressed 0..40 content=noise\ncompressed 41..99\n")), "");
}

TEST(GoodImages, with_snapshots_of_vm_state_and_of_other_sizes) {
  if (!have_qemu()) GTEST_SKIP() << "qemu-img is not installed";
  expect_sound({.refcount_bits = 4, .snapshots = 3});
  for (int order : {3, 4, 5, 6}) {
    for (int cluster_bits : {9, 16}) {
      expect_sound(
          {.cluster_bits = cluster_bits, .refcount_bits = 1 << order, .compression = "zlib", .snapshots = 3});
    }
  }
  EXPECT_EQ(
      judge(built("image cluster_size=512 size=64K\ndata 0..127\nsnapshot\nresize 1M\ndata 0..5,2000\n"
                  "snapshot vm_state=70000\nresize 32K\ndata 3\nsnapshot id=7 name=last extra=40\ndata 4\n")),
      "");
}

TEST(GoodImages, with_subclusters) {
  if (!have_qemu()) GTEST_SKIP() << "qemu-img is not installed";
  for (int cluster_bits : {14, 15, 16, 21})
    for (int snapshots : {0, 2})
      expect_sound(
          {.cluster_bits = cluster_bits, .extended = true, .compression = "zstd", .snapshots = snapshots});
}

TEST(GoodImages, with_an_external_data_file) {
  if (!have_qemu()) GTEST_SKIP() << "qemu-img is not installed";
  for (const char* raw : {"", " raw"})
    for (bool extended : {false, true})
      expect_sound(
          {.extended = extended, .head = fmt::format("datafile \"image.raw\"{}\n", raw), .bitmaps = true});
}

TEST(GoodImages, whose_raw_data_file_alone_is_the_disk) {
  const auto image = built("image size=320K\ndatafile \"disk.raw\" raw\ndata 0..4\nzero 2\nunmap 3\n");
  ASSERT_TRUE(image.data_file);
  EXPECT_EQ(image.data_file->size(), 320U << 10);
  for (std::uint64_t g = 0; g < 5; ++g)
    EXPECT_EQ(image.data_file->read(g << 16, 1U << 16), image.active.read(image.layout.geometry, g)) << g;
}

TEST(GoodImages, with_bitmaps) {
  if (!have_qemu()) GTEST_SKIP() << "qemu-img is not installed";
  for (int cluster_bits : {9, 16})
    expect_sound({.cluster_bits = cluster_bits, .snapshots = 1, .bitmaps = true});
  expect_sound({.more = "l1_entries=9 reftable_clusters=3", .head = "feature_names\n", .bitmaps = true});
}

TEST(GoodImages, whose_bitmaps_count_bits_from_the_lowest) {
  const auto image = built("image size=64M\nbitmap set=0..3,17 granularity=64K\n");
  const auto at = image.layout.bitmaps.at(0).data.at(0);
  EXPECT_EQ(image.file.load(at, 4), 0x0f000200U);
}

TEST(GoodImages, with_encryption) {
  if (!have_qemu()) GTEST_SKIP() << "qemu-img is not installed";
  for (int key : {16, 32, 64})
    expect_sound({.more = fmt::format("encryption=luks luks_key_bytes={}", key), .snapshots = 1});
  expect_sound({.cluster_bits = 9, .more = "encryption=luks luks_active_slots=3"});
  expect_sound({.more = "encryption=aes"});
  expect_sound({.version = 2, .more = "encryption=aes"});
}

TEST(GoodImages, with_extensions_and_a_backing_file) {
  if (!have_qemu()) GTEST_SKIP() << "qemu-img is not installed";
  expect_sound({.more = "header_length=104", .head = "backing \"base.qcow2\" format=qcow2\n"});
  expect_sound(
      {.more = "header_length=128 lazy_refcounts",
       .head = "backing \"base.raw\" format=raw\nextension 0x12345678 \"unknown\"\nfeature_names\n"});
  expect_sound({.version = 2, .head = "backing \"base.qcow2\" format=qcow2\n"});
}

TEST(GoodImages, whose_refcount_table_outgrew_its_place) {
  if (!have_qemu()) GTEST_SKIP() << "qemu-img is not installed";
  // 64 table entries of 64 counts: more than 4096 clusters need a second table cluster.
  const auto image = built("image cluster_size=512 refcount_bits=64 size=4M\ndata 0..5999\n");
  EXPECT_EQ(judge(image), "");
  EXPECT_GT(image.layout.refcount_table.length, 512U);
  EXPECT_NE(image.layout.refcount_table.offset, 512U);
}

TEST(GoodImages, with_holes_that_no_refcount_block_counts) {
  if (!have_qemu()) GTEST_SKIP() << "qemu-img is not installed";
  const auto image = built("image size=1M\ndata 0\nplace 8G\ndata 1\n");
  EXPECT_EQ(judge(image), "");
  EXPECT_EQ(image.layout.refcount_blocks.size(), 2U);
  EXPECT_FALSE(image.layout.refcount_blocks.contains(1));
}

TEST(GoodImages, of_huge_disks_cost_what_is_written) {
  if (!have_qemu()) GTEST_SKIP() << "qemu-img is not installed";
  const auto image = built("image size=64T cluster_size=2M\ndata 0,33554431\n");
  EXPECT_EQ(judge(image), "");
  std::uint64_t written = 0;
  for (auto extent : image.file.extents()) written += extent.length;
  EXPECT_LT(written, 20U << 20);
}

TEST(GoodImages, all_recipes_of_the_corpus) {
  if (!have_qemu()) GTEST_SKIP() << "qemu-img is not installed";
  const auto cases = list_cases(corpus_directory(), "good/");
  EXPECT_GE(cases.size(), 60U);
  for (const auto& c : cases) {
    const auto image = build_case(c);
    ASSERT_TRUE(image) << image.error().message;
    EXPECT_EQ(judge(*image), "") << c.path;
  }
}

TEST(Builder, gives_the_same_bytes_each_time) {
  for (const auto& c : list_cases(corpus_directory(), "good/s")) {
    const auto a = build_case(c);
    const auto b = build_case(c);
    ASSERT_TRUE(a) << a.error().message;
    EXPECT_TRUE(a->file == b->file) << c.path;
  }
}

TEST(Recipes, begin_with_a_comment_that_says_what_is_in_the_image) {
  for (const auto& c : list_cases(corpus_directory())) {
    std::ifstream in(c.file);
    std::string line;
    std::getline(in, line);
    EXPECT_TRUE(line.starts_with("# ") && line.size() > 8) << c.path;
  }
}

TEST(Builder, says_what_it_cannot_build) {
  auto why = [](const std::string& recipe) {
    const auto image = build(recipe);
    return image ? std::string("built") : image.error().message;
  };
  EXPECT_EQ(why("image size=1M\ndata 16\n"),
            "recipe:2: guest clusters 16..16 are not in the disk, which ends with cluster 15");
  EXPECT_EQ(why("image version=2\nzero 1\n"),
            "recipe:2: version 2 has no zero clusters; use version=3 or unmap");
  EXPECT_EQ(why("image version=2 refcount_bits=1\ndata 1\n"),
            "recipe:2: version 2 has 16-bit refcounts, deflate and no features; use version=3");
  EXPECT_EQ(why("image refcount_bits=1\ndata 1\nsnapshot\n"),
            "recipe:3: cluster 4 would have 2 references, which 1-bit refcounts can't count; use wider ones");
  EXPECT_EQ(why("image cluster_size=512\nfeature_names\nbacking \"" + std::string(10, 'x') + "\"\n"),
            "recipe:3: only 0 bytes of the first cluster are left for the backing file's name");
}

// The interface for tests, without text.
TEST(Builder, can_be_driven_step_by_step) {
  Image image({.cluster_bits = 12, .size = 64 << 10});
  image.data({0, 3}).snapshot({.name = "before"}).data({1, 1}, {.byte = 0xaa}).zero({2, 2});
  const auto result = image.finish();
  ASSERT_TRUE(result);
  const auto& layout = result->layout;
  EXPECT_EQ(layout.snapshots.size(), 1U);
  EXPECT_EQ(result->active.read(layout.geometry, 1)[0], std::byte{0xaa});
  EXPECT_EQ(result->snapshots[0].read(layout.geometry, 1)[0], std::byte{pattern_byte(1, 0)});
  const auto host = layout.data_of(layout.active, 1);
  ASSERT_TRUE(host);
  EXPECT_EQ(result->file.load(host->offset, 1), 0xaaU);
  EXPECT_FALSE(layout.data_of(layout.active, 2));
}

}  // namespace
}  // namespace cowvet::corpus
