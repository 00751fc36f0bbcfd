// What remedies once did wrong, or could not do, each by the damage that showed it.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "repair/repair.hpp"
#include "tests/repair/images.hpp"

namespace cowvet::repair {
namespace {

using testing_images::Devices;
using testing_images::must;

class Mended {
 public:
  explicit Mended(std::string_view recipe, Level level = Level::all)
      : devices_(recipe),
        options_{.level = level,
                 .allow_loss = level == Level::all,
                 .jobs = 1,
                 .assume_qcow2 = true,
                 .data_file = devices_.data ? &*devices_.data : nullptr} {
    base::Progress progress;
    planned_ = must(plan_repair(devices_.image, options_, progress));
    EXPECT_EQ(plan().objection, "");
    // As a file has it, which tells holes from zeros otherwise than what is kept in memory.
    storage::MemoryDevice file(planned_.draft->bytes(0, planned_.draft->image().size()));
    auto again = must(plan_repair(file, options_, progress));
    EXPECT_EQ(again.draft->writes(), 0U);
  }
  [[nodiscard]] const Plan& plan() const { return planned_.plan; }
  [[nodiscard]] View view() const { return must(View::open(planned_.draft->image(), devices_.options())); }
  [[nodiscard]] std::uint64_t errors() const {
    const auto& summary = plan().after.summary;
    return summary.of(findings::Severity::error).findings + summary.of(findings::Severity::fatal).findings;
  }
  // The first bytes of guest clusters of 4 KiB, "-" where nothing is stored; recipes store another in each.
  [[nodiscard]] std::string shows(std::initializer_list<std::uint64_t> clusters,
                                  std::size_t layer = 0) const {
    std::string text;
    const auto seen = view();
    if (layer >= seen.layers().size()) return "no such layer";
    for (const auto cluster : clusters) {
      std::string one = "-";
      seen.visit(seen.layers()[layer], [&](const Piece& piece) {
        const std::uint64_t at = cluster * 4096;
        if (at < piece.begin || at >= piece.end()) return true;
        std::array<std::byte, 1> byte{};
        if (piece.kind == Piece::Kind::lost)
          one = "lost";
        else if (!seen.read(piece, at - piece.begin, byte) && byte[0] != std::byte{0})
          one = std::to_string(std::to_integer<unsigned>(byte[0]));
        return false;
      });
      text += (text.empty() ? "" : " ") + one;
    }
    return text;
  }
  [[nodiscard]] bool did(std::string_view what) const {
    return std::ranges::any_of(plan().actions, [&](const Action& a) { return a.what.contains(what); });
  }

 private:
  Devices devices_;
  Options options_;
  Planned planned_;
};

// Each of them was taken for a lost table, and so nothing was freed before the second repair.
TEST(Remedies, tables_that_say_that_nothing_is_left_are_no_holes) {
  const Mended m(
      "image size=8M cluster_size=4K\ndata 0..3\nsnapshot\ndata 600..601\ndata 1200\ndamage:\n"
      "set l1[0] = 0\ntruncate @l2[1]\n");
  EXPECT_EQ(m.plan().after.summary.of(findings::Severity::leak).findings, 0U);
  EXPECT_EQ(m.shows({0, 1}), "1 2");
}

TEST(Remedies, an_l1_table_that_lies_in_its_own_disk_changes_places_with_the_data) {
  const Mended sound("image size=1M cluster_size=4K\ndata 0..9\n");
  const Mended m("image size=1M cluster_size=4K\ndata 0..9\ndamage:\nswap @l1 for 4096 with @data[5]\n");
  EXPECT_EQ(m.shows({0, 4, 5, 6, 9}), sound.shows({0, 4, 5, 6, 9}));
  EXPECT_EQ(m.errors(), 0U);
}

TEST(Remedies, a_header_overwritten_in_size_and_table_takes_both_from_the_table) {
  const Mended m(
      "image size=4M cluster_size=4K\ndata 0..3\ndata 600\ndamage:\nset header.size = 0x9073c876a9ddc8\n"
      "set header.l1_size = 0x951a1666\nset header.l1_table_offset = 0x5a00000000003000\n");
  EXPECT_EQ(m.view().header().v2.size, 4U << 20);
  EXPECT_EQ(m.shows({0, 3, 600}), "1 4 91");
}

// The disk's own table was taken for a lost snapshot's, and an empty one made for the disk.
TEST(Remedies, a_table_that_is_found_with_the_refcounts_is_the_disks) {
  const Mended m(
      "image size=1M cluster_size=4K\ndata 0..9\ndamage:\nset header.l1_table_offset = 0x300000df6d\n"
      "set header.refcount_table_offset = 0x7feb37b19746d\nset header.refcount_table_clusters = 0xfb3719\n"
      "set header.nb_snapshots = 0x7cf30001\n");
  EXPECT_EQ(m.shows({0, 4, 9}), "1 5 10");
  EXPECT_TRUE(m.did("lead the header to the L1 table"));
}

TEST(Remedies, features_that_the_image_does_not_name_are_none) {
  const Mended m(
      "image size=1M cluster_size=4K\nfeature_names\ndata 0..9\ndamage:\nset header.incompatible_features = "
      "0x2d0590b220000000\n");
  EXPECT_EQ(m.view().header().v3.incompatible_features, 0U);
}

TEST(Remedies, a_header_that_says_where_its_data_file_is_leads_to_its_tables) {
  const Mended m("image size=1M cluster_size=4K\ndatafile \"d\"\ndata 0..9\ndamage:\nset header.magic = 0\n");
  EXPECT_EQ(m.shows({0, 4, 9}), "1 5 10");
}

TEST(Remedies, entries_that_share_a_cluster_are_told_apart_by_their_neighbours) {
  const Mended m(
      "image size=1M cluster_size=4K\ndata 0..20\ndamage:\nset l2[0][9] = l2[0][1]\n"
      "set refcount[@data[1]] += 1\n");
  EXPECT_EQ(m.shows({0, 1, 2, 8, 9, 10}), "1 2 3 9 10 11");
}

TEST(Remedies, a_table_cut_by_the_end_of_the_file_keeps_its_entries) {
  const Mended m("image size=1M cluster_size=4K\ndatafile \"d\"\ndata 0..3\ndamage:\ntruncate -2048\n");
  EXPECT_EQ(m.shows({0, 1, 2, 3}), "1 2 3 4");
  EXPECT_EQ(m.errors(), 0U);
}

TEST(Remedies, entries_behind_the_disks_end_that_a_cut_took_are_no_loss) {
  const std::string recipe = "image size=1M cluster_size=4K\ndatafile \"d\"\ndata 0..3\ndamage:\ntruncate ";
  const Mended behind(recipe + "-2048\n", Level::lossless);
  EXPECT_EQ(behind.errors(), 0U);
  EXPECT_EQ(behind.shows({0, 1, 2, 3}), "1 2 3 4");
  const Mended within(recipe + "-2056\n", Level::lossless);
  EXPECT_FALSE(within.did("let the L2 table end"));
}

// The engine refuses a table that the file's end cuts: what read as zeros before could not be read any more.
TEST(Remedies, a_table_that_a_cut_took_a_part_of_is_not_chosen_without_consent) {
  for (const auto& [cut, allow_loss] : {std::pair(2048, false), {2056, false}, {2056, true}}) {
    const Devices devices(
        fmt::format("image size=1M cluster_size=4K\ndatafile \"d\"\ndata 0..3\ndamage:\n"
                    "set l1[0] = 0\ntruncate -{}\n",
                    cut));
    const std::uint64_t table = devices.image.size() + static_cast<unsigned>(cut) - 4096;
    base::Progress progress;
    const Options options{.level = allow_loss ? Level::all : Level::lossless,
                          .allow_loss = allow_loss,
                          .jobs = 1,
                          .data_file = &*devices.data,
                          .choices = {{"l1[0]", table}}};
    const auto planned = plan_repair(devices.image, options, progress);
    ASSERT_EQ(planned.has_value(), cut == 2048 || allow_loss);
    if (planned) {
      EXPECT_EQ(planned->draft->image().size(), table + 4096) << "the table ends where it should";
      EXPECT_EQ(planned->plan.after.summary.of(findings::Severity::error).findings, 0U);
    } else {
      EXPECT_TRUE(planned.error().message.contains("--allow-loss")) << planned.error().message;
    }
  }
}

// Nothing was freed as long as the table was a hole; what was written beside it ended that before the second repair.
TEST(Remedies, a_table_in_a_hole_is_a_table_of_zeros) {
  const Mended m("image size=1M cluster_size=4K\ndata 0..3\ndamage:\nzero @data[0] for 16K\nhole @l2[0]\n");
  EXPECT_EQ(m.plan().after.summary.of(findings::Severity::leak).findings, 0U);
}

TEST(Remedies, an_instruction_count_is_no_id) {
  const Mended m(
      "image size=1M cluster_size=4K\ndata 0..3\nsnapshot extra=24 name=first\ndamage:\n"
      "set snapshot[0].id_size += 8\n");
  ASSERT_EQ(m.shows({0, 1, 2, 3}, 1), "1 2 3 4");
  EXPECT_EQ(m.view().layers()[1].name, "first");
}

TEST(Remedies, no_cluster_moves_where_its_place_is_a_part_of_the_encryption) {
  const Mended m(
      "image size=4M cluster_size=4K encryption=luks\ndata 0..9\ndamage:\nset l2[0][2] = l2[0][1]\n"
      "set refcount[@data[1]] += 1\n",
      Level::lossless);
  EXPECT_FALSE(m.did("a copy of the cluster"));
  EXPECT_TRUE(m.plan().proof->nothing_worse());
}

TEST(Remedies, nothing_is_written_over_data_that_a_snapshot_takes_for_its_table) {
  const Mended m(
      "image size=1M cluster_size=4K\ndata 0..9\ndata 5 content=noise\nsnapshot\ndata 0..1\ndamage:\n"
      "set snapshot[0].l1_table_offset = @data[5]\nset snapshot[0].l1_size = 40\n");
  const Mended sound("image size=1M cluster_size=4K\ndata 0..9\ndata 5 content=noise\n");
  EXPECT_EQ(m.shows({5}), sound.shows({5}));
  EXPECT_TRUE(m.plan().proof->changed.empty());
}

TEST(Remedies, a_cut_image_is_none_with_a_data_file) {
  const Mended m("image size=4M cluster_size=64K\ndata 0..30\ndamage:\ntruncate 0x70000\n", Level::lossless);
  EXPECT_FALSE(m.view().header().external_data_file());
  EXPECT_FALSE(m.plan().before.inferred);
}

TEST(Remedies, what_a_cut_took_is_given_up_and_the_rest_is_counted) {
  const Mended m(
      "image size=8M cluster_size=4K\ndata 0..3\ndata 600..601\ndamage:\n"
      "zero @refblock[0] for 4096\nset reftable[0] = 0\ntruncate @l2[1]\n");
  EXPECT_EQ(m.shows({0, 1, 2, 3}), "1 2 3 4");
  EXPECT_EQ(m.errors(), 0U);
}

TEST(Remedies, lost_tables_of_a_data_file_are_told_by_their_entries) {
  const Mended m(
      "image size=8M cluster_size=4K\ndatafile \"d\"\ndata 0..3\ndata 1200\ndamage:\nzero @l1 for 32\n");
  EXPECT_EQ(m.shows({0, 1, 2, 3, 1200}), "1 2 3 4 181");
}

TEST(Remedies, a_lost_table_with_entries_behind_the_end_is_not_of_the_last_range) {
  const Mended m("image size=5M cluster_size=4K\ndata 0..3\ndata 700,1000\ndamage:\nset l1[1] = 0\n");
  EXPECT_EQ(m.shows({0, 700, 1000}), "1 191 236");
}

TEST(Remedies, header_and_l1_table_lost_together_come_back) {
  const Mended m(
      "image size=4M cluster_size=4K\ndata 0..9\ndata 600..609\ndamage:\nzero @l1 for 16\nzero cluster 0\n");
  EXPECT_EQ(m.shows({0, 9, 600, 609}), "1 10 91 100");
}

TEST(Remedies, a_lost_header_is_rebuilt_with_its_encryption) {
  const Mended m("image size=4M cluster_size=4K encryption=luks\ndata 0..9\ndamage:\nzero cluster 0\n");
  EXPECT_EQ(m.view().header().v2.crypt_method, 2U);
  EXPECT_EQ(m.errors(), 0U);
}

TEST(Remedies, a_flipped_bit_of_an_empty_entry_is_no_place_for_what_was_lost) {
  const Mended m(
      "image size=1M cluster_size=4K\ndata 0..3\nreserve lost content=noise\ndamage:\n"
      "set l2[0][40] = 0x1000000000000000\n");
  EXPECT_EQ(m.shows({40}), "-");
  EXPECT_EQ(m.errors(), 0U);
}

TEST(Remedies, a_backing_name_that_stands_nowhere_is_none) {
  const Mended m(
      "image size=1M cluster_size=4K\ndata 0..3\ndamage:\nset header.backing_file_offset = 0x7000000000\n"
      "set header.backing_file_size = 70\n");
  EXPECT_EQ(m.errors(), 0U);
  EXPECT_EQ(m.shows({0, 1}), "1 2");
}

TEST(Remedies, no_damaged_number_makes_the_file_longer) {
  const Mended m(
      "image size=8M cluster_size=4K\ndatafile \"d\"\ndata 0..3\ndata 1200\ndamage:\n"
      "set header.l1_table_offset = 0xbef2f8e22e38\nset header.refcount_table_offset = 0x7daa1c1cc35eab8f\n");
  EXPECT_LT(m.plan().size_after, 1U << 20);
  EXPECT_EQ(m.shows({0, 1, 2, 3, 1200}), "1 2 3 4 181");
}

TEST(Remedies, a_table_that_another_one_reaches_over_is_not_given_up) {
  const Mended m(
      "image size=1M cluster_size=4K\ndata 0..3\nsnapshot\ndata 0..1\ndata 100..103\ndamage:\n"
      "set snapshot[0].l1_size = 3000\n");
  EXPECT_EQ(m.shows({0, 1, 2, 3, 100, 103}), "38 39 3 4 138 141");
  EXPECT_EQ(m.shows({0, 1, 2, 3}, 1), "1 2 3 4");
}

TEST(Remedies, a_snapshot_led_to_an_empty_table_gets_its_own_back) {
  const Mended m(
      "image size=1M cluster_size=4K\ndata 0..3\nsnapshot\ndata 0..1\nreserve spare content=none refcount=0\n"
      "damage:\nset snapshot[0].l1_table_offset = @spare\n");
  EXPECT_EQ(m.shows({0, 1, 2, 3}, 1), "1 2 3 4");
}

}  // namespace
}  // namespace cowvet::repair
