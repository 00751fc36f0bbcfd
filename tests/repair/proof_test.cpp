// A comparison before and after a change tells each way in which a layer may read otherwise, and nothing else.
#include "repair/proof.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "storage/overlay.hpp"
#include "tests/repair/images.hpp"

namespace cowvet::repair {
namespace {

using namespace testing_images;

constexpr std::string_view two_layers =
    "image size=4M cluster_size=4K\ndata 0..9\nzero 20\ncompressed 30\nsnapshot\ndata 5\n";

class Proven : public testing::Test {
 protected:
  explicit Proven(std::string_view text = two_layers)
      : built_(must(corpus::build(text))), devices_(built_), after(devices_.image) {}

  Proof proof() {
    const auto view_before = must(View::open(devices_.image));
    const auto view_after = must(View::open(after));
    const auto changes = after.changes();
    return must(compare(view_before, view_after, {.changes = changes}, progress_));
  }
  // The L2 table behind the active layer's L1 entry 0, and the place of one of its entries.
  std::uint64_t l2() {
    return word(must(View::open(devices_.image)).layers()[0].l1.raw()) & format::entry_offset_mask;
  }
  std::uint64_t entry(std::uint64_t index) { return l2() + index * 8; }
  std::uint64_t word(std::uint64_t at) {
    std::array<std::byte, 8> bytes{};
    (void)after.read(at, bytes);
    return base::load_be<std::uint64_t, 0>(std::span<const std::byte, 8>(bytes));
  }
  std::vector<std::byte> cluster(std::uint64_t at) {
    std::vector<std::byte> bytes(4096);
    (void)after.read(at, bytes);
    return bytes;
  }

  corpus::BuiltImage built_;
  Devices devices_;
  base::Progress progress_;

 public:
  storage::Overlay after;
};

std::string said(const GuestRanges& ranges) {
  std::string text;
  for (const auto& r : ranges.list)
    text += fmt::format("{}{}:{}+{}", text.empty() ? "" : " ", r.snapshot, r.begin.raw(), r.length);
  return text;
}

TEST_F(Proven, none_is_equal) {
  const auto p = proof();
  EXPECT_TRUE(p.equal());
  EXPECT_TRUE(p.unreadable.empty());
}

TEST_F(Proven, a_moved_cluster_reads_the_same) {
  const std::uint64_t from = word(entry(2)) & format::entry_offset_mask, end = after.size();
  ASSERT_TRUE(after.resize(end + 4096));
  ASSERT_TRUE(after.write(end, cluster(from)));
  put(after, entry(2), end | format::copied_flag);
  EXPECT_TRUE(proof().equal());
}

TEST_F(Proven, one_byte_is_told_in_every_layer_that_shows_it) {
  const std::uint64_t host = word(entry(2)) & format::entry_offset_mask;
  ASSERT_TRUE(after.write(host + 700, std::vector<std::byte>{std::byte{0xee}}));
  const auto p = proof();
  EXPECT_EQ(said(p.changed), ":8704+512 1:8704+512");
  EXPECT_FALSE(p.nothing_worse());
}

TEST_F(Proven, a_written_byte_that_stays_the_same_is_none) {
  const std::uint64_t host = word(entry(2)) & format::entry_offset_mask;
  ASSERT_TRUE(after.write(host, cluster(host)));
  EXPECT_TRUE(proof().equal());
}

TEST_F(Proven, zeros_may_take_another_form) {
  const std::uint64_t end = after.size();
  ASSERT_TRUE(after.resize(end + 4096));
  put(after, entry(20), 0);                          // zero: nothing is allocated
  put(after, entry(40), 1);                          // the other way round
  put(after, entry(41), end | format::copied_flag);  // zeros that are stored
  EXPECT_TRUE(proof().equal());
}

TEST_F(Proven, an_emptied_entry_is_a_change) {
  put(after, entry(3), 0);
  put(after, entry(30), 0);
  EXPECT_EQ(said(proof().changed), ":12288+4096 :122880+4096");
}

TEST_F(Proven, a_damaged_entry_loses) {
  put(after, entry(3), word(entry(3)) | 512);
  const auto p = proof();
  EXPECT_EQ(said(p.lost), ":12288+4096");
  EXPECT_FALSE(p.nothing_worse());
}

TEST_F(Proven, a_cut_stream_loses) {
  const auto view = must(View::open(devices_.image));
  const auto all = pieces(view, view.layers()[0]);
  const auto stream = std::ranges::find(all, Piece::Kind::compressed, &Piece::kind);
  ASSERT_TRUE(after.write(stream->host, std::vector<std::byte>(8, std::byte{0xff})));
  EXPECT_EQ(said(proof().lost), ":122880+4096 1:122880+4096");
}

TEST_F(Proven, a_layer_may_come_and_go) {
  put(after, 56, word(56) & 0xffffffff00000000);  // refcount_table_clusters, nb_snapshots
  auto p = proof();
  ASSERT_EQ(p.layers_gone, std::vector<std::string>{"1"});
  EXPECT_FALSE(p.nothing_worse());
  const auto with = must(View::open(devices_.image)), without = must(View::open(after));
  p = must(compare(without, with, {}, progress_));
  EXPECT_EQ(p.layers_new, std::vector<std::string>{"1"});
  EXPECT_TRUE(p.nothing_worse());
}

TEST_F(Proven, a_smaller_disk_loses_what_was_stored) {
  put(after, 24, 32768);
  const auto p = proof();
  EXPECT_EQ(said(p.lost), ":32768+8192 :81920+4096 :122880+4096");
}

TEST_F(Proven, stopped) {
  progress_.request_stop();
  const auto view = must(View::open(devices_.image));
  EXPECT_EQ(compare(view, view, {}, progress_).error().kind, base::ErrorKind::cancelled);
}

struct Damaged : Proven {
  Damaged()
      : Proven(fmt::format(
            "{}damage:\nset l2[0][1].offset = l2[0][1].offset + 512\nset l2[0][2].reserved_high = 1\n"
            "set l2[0][3].reserved_high = 1\nset l2[0][4].offset = 0x40000000\n",
            two_layers)) {}
};

TEST_F(Damaged, what_gets_better_is_told) {
  put(after, entry(1), word(entry(1)) - 512);
  put(after, entry(2), word(entry(2)) & ~(0x3fULL << 56));
  put(after, entry(3), 0);
  const auto p = proof();
  EXPECT_EQ(said(p.improved), ":4096+8192");
  EXPECT_EQ(said(p.restored), ":4096+8192");
  EXPECT_EQ(said(p.settled), ":12288+4096");
  EXPECT_EQ(said(p.unreadable), ":16384+4096");
  EXPECT_TRUE(p.nothing_worse());
  EXPECT_FALSE(p.equal());
}

// A disk that claims to be large is no larger by what can be read of it.
TEST_F(Damaged, what_was_never_written_is_not_restored) {
  put(after, entry(1), 0);
  const auto p = proof();
  EXPECT_EQ(said(p.improved), ":4096+4096");
  EXPECT_TRUE(p.restored.empty());
}

// What is not allocated shows a file that nobody looked into.
struct Backed : Proven {
  Backed() : Proven("image size=4M cluster_size=4K\nbacking \"base\" format=raw\ndata 0..9\nzero 20\n") {}
};
TEST_F(Backed, what_lies_below_is_not_guessed) {
  put(after, entry(20), 0);
  put(after, entry(40), 1);
  EXPECT_EQ(said(proof().changed), ":81920+4096 :163840+4096");
}

// Of an entry that is given up the backing file shows through: older data, which is no improvement. A table
// that is found again says rightly what was never written.
struct BackedDamaged : Proven {
  BackedDamaged()
      : Proven(
            "image size=4M cluster_size=4K version=2\nbacking \"base\" format=raw\ndata 0..9\ndata "
            "512\ndamage:\n"
            "set l2[0][1].offset = 0x40000000\nset l1[1].offset = 0x40000000\n") {}
};
TEST_F(BackedDamaged, data_that_is_given_up_for_the_backing_file_is_not_called_improved) {
  put(after, entry(1), 0);
  EXPECT_EQ(said(proof().changed), ":4096+4096");
  put(after, must(View::open(devices_.image)).layers()[0].l1.raw() + 8, 0);
  const auto p = proof();
  EXPECT_EQ(said(p.changed), ":4096+4096 :2097152+2097152");
  EXPECT_TRUE(p.improved.empty());
}
TEST_F(BackedDamaged, a_table_that_is_found_again_is_an_improvement) {
  const std::uint64_t end = after.size();
  ASSERT_TRUE(after.resize(end + 4096));
  put(after, end, word(entry(0)));
  put(after, must(View::open(devices_.image)).layers()[0].l1.raw() + 8, end | format::copied_flag);
  const auto p = proof();
  EXPECT_TRUE(p.changed.empty()) << said(p.changed);
  EXPECT_EQ(said(p.improved), ":2097152+2097152");
}

// Where a sector lies is a part of LUKS: the same bytes elsewhere are another plain text.
struct Encrypted : Proven {
  Encrypted() : Proven("image size=4M cluster_size=4K encryption=luks\ndata 0..9\n") {}
};
TEST_F(Encrypted, a_moved_cluster_is_not_proved) {
  const std::uint64_t from = word(entry(2)) & format::entry_offset_mask, end = after.size();
  ASSERT_TRUE(after.resize(end + 4096));
  ASSERT_TRUE(after.write(end, cluster(from)));
  put(after, entry(2), end | format::copied_flag);
  EXPECT_EQ(said(proof().changed), ":8192+4096");
}

// A damaged field names a method that there is none of: the bytes are plain ones, as the mended field says.
struct Misnamed : Proven {
  Misnamed() : Proven("image size=4M cluster_size=4K\ndata 0..9\ndamage:\nset header.crypt_method = 16\n") {}
};
TEST_F(Misnamed, a_moved_cluster_reads_the_same) {
  const std::uint64_t from = word(entry(2)) & format::entry_offset_mask, end = after.size();
  ASSERT_TRUE(after.resize(end + 4096));
  ASSERT_TRUE(after.write(end, cluster(from)));
  put(after, entry(2), end | format::copied_flag);
  ASSERT_TRUE(after.write(32, std::vector<std::byte>(4)));
  EXPECT_TRUE(proof().changed.empty());
}

}  // namespace
}  // namespace cowvet::repair
