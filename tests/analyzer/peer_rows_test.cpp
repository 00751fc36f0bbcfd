// What qemu-img check misjudges or destroys, case by case (the rows that recipes call "Row N"): the finding names the
// structure, the guest's bytes at stake, and the rule, not only that something is wrong.
#include <algorithm>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "corpus/builder/cases.hpp"
#include "tests/analyzer/places.hpp"
#include "tests/analyzer/saved.hpp"

namespace cowvet::analyzer {
namespace {

using Guest = std::vector<findings::GuestRange>;

struct Row {
  int number;
  std::string recipe;
  std::string rule;
  std::string where;  // "": a cluster's number, which the recipe pins down by its place
  Guest guest = {};
  std::vector<std::string> owners = {};  // where the others are that refer to the place
};

void PrintTo(const Row& row, std::ostream* out) { *out << row.number << ' ' << row.recipe; }

const std::vector<Row>& rows() {
  static const Guest disk{guest(0, mib)};
  static const std::vector<Row> all{
      {1,
       "refcount/leak-holds-table/l1_entry_zeroed",
       "refcount/leak-holds-table",
       "",
       {guest(512 * mib, 512 * mib)}},  // by the order of the tables in the file
      {2, "l1/entry-past-eof/one_terabyte", "l1/entry-past-eof", "l1[0]", disk},
      {2, "l1/entry-past-eof/one_terabyte", "refcount/leak-holds-table", "", disk},
      {3, "l1/entry-unaligned/by_a_sector", "l1/entry-unaligned", "l1[0]", disk},
      {3, "l1/points-at-metadata/itself", "l1/points-at-metadata", "l1[0]", disk},
      {3,
       "l1/points-at-metadata/guest_data",
       "l1/points-at-metadata",
       "l1[1]",
       {guest(512 * mib, 512 * mib), guest(128 * kib, 64 * kib)},
       {"l1[0].l2[2]"}},
      {3,
       "l1/points-at-metadata/guest_data",
       "l2/table-implausible",
       "l1[1].l2",
       {guest(512 * mib, 512 * mib)}},
      {3, "l1/points-at-metadata/guest_data", "refcount/leak-holds-table", "", {guest(512 * mib, 512 * mib)}},
      {4,
       "l2/host-alias/two_places_one_cluster",
       "l2/host-alias",
       "l1[0].l2[1]",
       {guest(64 * kib, 64 * kib), guest(128 * kib, 64 * kib)},
       {"l1[0].l2[2]"}},
      {4,
       "l2/host-alias/refcount_agrees",
       "l2/host-alias",
       "l1[0].l2[1]",
       {guest(64 * kib, 64 * kib), guest(128 * kib, 64 * kib)},
       {"l1[0].l2[2]"}},
      {4,
       "l2/host-alias/one_bit_refcounts",
       "refcount/overflow",
       "",
       {guest(64 * kib, 128 * kib)},
       {"l1[0].l2[1]", "l1[0].l2[2]"}},
      {5,
       "l2/points-at-metadata/l1_table",
       "l2/points-at-metadata",
       "l1[0].l2[2]",
       {guest(128 * kib, 64 * kib)},
       {"l1"}},
      {5,
       "l2/points-at-metadata/after_repair",
       "l2/points-at-metadata",
       "l1[0].l2[2]",
       {guest(128 * kib, 64 * kib)},
       {"l1"}},
      {5,
       "l2/points-at-metadata/refcount_table",
       "l2/points-at-metadata",
       "l1[0].l2[2]",
       {guest(128 * kib, 64 * kib)},
       {"refcount_table"}},
      {5,
       "l2/points-at-metadata/refcount_block",
       "l2/points-at-metadata",
       "l1[0].l2[2]",
       {guest(128 * kib, 64 * kib)},
       {"refcount_block at 0x20000"}},
      {6, "l2/data-unaligned/by_a_sector", "l2/data-unaligned", "l1[0].l2[2]", {guest(128 * kib, 64 * kib)}},
      {6, "l2/past-eof/one_terabyte", "l2/past-eof", "l1[0].l2[2]", {guest(128 * kib, 64 * kib)}},
      {6, "l2/reserved/low_bit", "l2/reserved", "l1[0].l2[2]", {guest(128 * kib, 64 * kib)}},
      {6, "l1/entry-reserved/low_bit", "l1/entry-reserved", "l1[0]", disk},
      {6,
       "l1/entry-reserved/high_bit_in_a_snapshot",
       "l1/entry-reserved",
       "snapshot[0].l1[0]",
       {guest(0, mib, "1")}},
      {6,
       "compressed/copied-set/one_bit",
       "compressed/copied-set",
       "l1[0].l2[1]",
       {guest(64 * kib, 64 * kib)}},
      {6,
       "extl2/alloc-and-zero/one_subcluster",
       "extl2/alloc-and-zero",
       "l1[0].l2[1]",
       {guest(64 * kib, 64 * kib)}},
      {7, "l2/zero-unaligned/preallocated", "l2/zero-unaligned", "l1[0].l2[4]", {guest(256 * kib, 64 * kib)}},
      {8, "refcount/table-entry-reserved/bit_3", "refcount/table-entry-reserved", "refcount_table[0]"},
      {8, "refcount/block-unaligned/bit_9", "refcount/block-unaligned", "refcount_table[0]"},
      {8, "refcount/block-unaligned/bit_9", "refcount/coverage", "refcount_table[0]", disk},
      {9, "refcount/block-past-eof/one_terabyte", "refcount/block-past-eof", "refcount_table[0]"},
      {9, "refcount/block-past-eof/one_terabyte", "refcount/coverage", "refcount_table[0]", disk},
      {10,
       "refcount/zero-in-use/data",
       "refcount/zero-in-use",
       "",
       {guest(64 * kib, 128 * kib)},
       {"l1[0].l2[1]", "l1[0].l2[2]"}},
      {11,
       "extl2/compressed-bitmap/one_bit",
       "extl2/compressed-bitmap",
       "l1[0].l2[5]",
       {guest(320 * kib, 64 * kib)}},
      {11,
       "compressed/in-data-file-image/one_entry",
       "compressed/in-data-file-image",
       "l1[0].l2[1]",
       {guest(64 * kib, 64 * kib)}},
      {12,
       "compressed/streams-overlap/same_stream_twice",
       "compressed/streams-overlap",
       "l1[0].l2[2]",
       {guest(128 * kib, 64 * kib), guest(64 * kib, 64 * kib)},
       {"l1[0].l2[1]"}},
      {12,
       "compressed/undecodable/garbage",
       "compressed/undecodable",
       "l1[0].l2[1]",
       {guest(64 * kib, 64 * kib)}},
      {13,
       "snapshot/l1-past-eof/private_data",
       "snapshot/l1-past-eof",
       "snapshot[0].l1_table_offset",
       {guest(0, 512 * mib, "1")}},
      {14, "refcount/leak-holds-table/snapshots_forgotten", "header/snapshot-pointer-pair",
       "header.nb_snapshots"},
      {14, "refcount/leak-holds-table/snapshots_forgotten", "snapshot/lost", "", {guest(0, mib, "1")}},
      {15, "snapshot/extra-misstated/two_thousand", "snapshot/extra-misstated",
       "snapshot[0].extra_data_size"},
      {16, "snapshot/extra-too-small/none", "snapshot/extra-too-small", "snapshot[0].extra_data_size"},
      {17, "snapshot/count-limit/one_bit", "snapshot/count-limit", "header.nb_snapshots"},
      {18, "snapshot/table-offset-unaligned/by_a_sector", "snapshot/table-offset-unaligned",
       "header.snapshots_offset"},
      {18, "bitmap/table-past-eof/beyond", "bitmap/table-past-eof", "bitmap[0].table"},
      {19, "feature/bitmaps-bit-clear/clusters_without_owner", "feature/bitmaps-bit-clear",
       "header.autoclear_features"},
      {20, "header/version/unknown", "header/version", "header.version"},
      {20, "header/cluster-bits-range/too_large", "header/cluster-bits-range", "header.cluster_bits"},
      {20, "header/l1-offset-unaligned/by_a_sector", "header/l1-offset-unaligned", "header.l1_table_offset",
       disk},
      {20, "header/refcount-order-range/seven", "header/refcount-order-range", "header.refcount_order"},
      {20, "refcount/table-offset-zero/lost", "refcount/table-offset-zero", "header.refcount_table_offset"},
      {21, "refcount/beyond-eof/counted", "refcount/beyond-eof", ""},
      {21, "snapshot/id-duplicate/one_bit", "snapshot/id-duplicate", "snapshot[1].id"},
      {21,
       "datafile/host-offset/other_place",
       "datafile/host-offset",
       "l1[0].l2[2]",
       {guest(128 * kib, 64 * kib)}},
      {22, "refcount/huge-file/over_a_terabyte", "refcount/huge-file", "file"},
  };
  return all;
}

corpus::Case find_case(const std::string& path) {
  for (auto& c : corpus::list_cases(corpus::corpus_directory(), path))
    if (c.path == path) return c;
  ADD_FAILURE() << "there is no recipe " << path;
  return {};
}

std::vector<findings::Finding> findings_of(const corpus::BuiltImage& image) {
  constexpr unsigned jobs = 2;
  return Saved(image).check(true, jobs).findings;
}

std::string shown(const findings::Finding& f) {
  std::string text = f.rule->name.data() + (" at " + f.where);
  for (const auto& g : f.guest)
    text += fmt::format(", guest {:#x} +{:#x} '{}'", g.begin.raw(), g.length, g.snapshot);
  for (const auto& o : f.owners) text += ", with " + o.where;
  return text + "\n";
}

class PeerRows : public testing::TestWithParam<Row> {};

TEST_P(PeerRows, get_a_precise_finding) {
  const auto& row = GetParam();
  const auto image = corpus::build_case(find_case(row.recipe));
  ASSERT_TRUE(image) << image.error().message;
  std::string others;
  for (const auto& f : findings_of(*image)) {
    others += shown(f);
    if (f.rule->name != row.rule || (!row.where.empty() && f.where != row.where) || f.guest != row.guest)
      continue;
    if (std::ranges::all_of(row.owners, [&](const auto& where) {
          return std::ranges::find(f.owners, where, &findings::Owner::where) != f.owners.end();
        }))
      return;
  }
  FAIL() << row.rule << " " << row.where << " is not among\n" << others;
}

INSTANTIATE_TEST_SUITE_P(rows, PeerRows, testing::ValuesIn(rows()), [](const auto& tested) {
  auto name = fmt::format("row_{}_{}_{}", tested.param.number, tested.param.rule, tested.param.recipe);
  std::ranges::replace_if(name, [](char c) { return c == '/' || c == '-'; }, '_');
  return name;
});

// Row 22: neither the backing file nor the key is there, and nothing is missed.
TEST(PeerRows, need_neither_backing_file_nor_key) {
  for (const auto* recipe : {"good/backing_file", "good/luks"}) {
    const auto image = corpus::build_case(find_case(recipe));
    ASSERT_TRUE(image) << image.error().message;
    EXPECT_TRUE(findings_of(*image).empty()) << recipe;
  }
}

}  // namespace
}  // namespace cowvet::analyzer
