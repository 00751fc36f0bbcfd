// Sound images show what the engine reads, with nothing lost or doubtful; in damaged ones every guest byte is
// told once, and what is told for certain is what the engine reads, where it reads; and each kind of damage
// costs its own range.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "corpus/builder/cases.hpp"
#include "engine/qcow2_disk.hpp"
#include "storage/fault.hpp"
#include "tests/repair/images.hpp"

namespace cowvet::repair {
namespace {

using namespace testing_images;
using Kind = Piece::Kind;

constexpr std::uint64_t most_file = 8ULL << 20, most_disk = 4ULL << 20;  // bytes of an image, of a layer

// The layer's pieces follow each other without gaps, and where the disk can be read they show the same.
void hold_against(const View& view, const Layer& layer, const engine::Disk* disk, bool sound,
                  const std::string& name) {
  std::uint64_t at = 0;
  view.visit(layer, [&](const Piece& piece) {
    EXPECT_EQ(piece.begin, at) << name;
    EXPECT_GT(piece.length, 0U) << name;
    at = piece.end();
    EXPECT_TRUE(!sound || (piece.readable() && piece.why.empty()))
        << name << " " << piece.begin << " " << piece.why;
    if (disk == nullptr || !piece.readable() || !piece.why.empty()) return true;
    constexpr std::uint64_t step = 4096;
    const std::uint64_t end = std::min({piece.end(), disk->size(), most_disk});
    for (std::uint64_t offset = piece.begin; offset < end; offset += step) {
      std::vector<std::byte> ours(static_cast<std::size_t>(std::min(step, end - offset))),
          theirs(ours.size());
      const auto unread = view.read(piece, offset - piece.begin, ours);
      const bool read = disk->read(base::GuestOffset{offset}, theirs).has_value();
      EXPECT_TRUE(!sound || (read && !unread)) << name;
      if (read && !unread && ours != theirs) {
        ADD_FAILURE() << name << " differs at " << offset;
        return false;
      }
    }
    return true;
  });
  EXPECT_EQ(at, layer.end) << name;
}

TEST(View, shows_what_the_engine_reads_in_every_image_of_the_corpus) {
  std::size_t seen = 0;
  for (const auto& c : corpus::list_cases(corpus::corpus_directory())) {
    const auto built = must(corpus::build_case(c));
    if (built.file.size() > most_file) continue;
    Devices devices(built);
    const bool sound = c.rule.empty();
    const auto view = View::open(devices.image, devices.options());
    if (!view) {
      EXPECT_FALSE(sound) << c.path << ": " << view.error().message;
      continue;
    }
    ++seen;
    const auto disk =
        engine::Qcow2Disk::open(devices.image, {.data_file = devices.data ? &*devices.data : nullptr});
    EXPECT_TRUE(disk.has_value() || !sound) << c.path;
    const bool open = disk && view->header().v2.crypt_method == 0;
    hold_against(*view, view->layers().front(), open ? disk->get() : nullptr, sound, c.path);
    for (const auto& layer : view->layers()) {
      if (!layer.entry) continue;
      const auto snapshot =
          disk ? (*disk)->snapshot_disk(layer.snapshot) : base::fail(base::ErrorKind::io, "");
      EXPECT_TRUE(snapshot.has_value() || !sound) << c.path << " snapshot " << layer.snapshot;
      hold_against(*view, layer, open && snapshot ? snapshot->get() : nullptr, sound,
                   fmt::format("{} snapshot {}", c.path, layer.snapshot));
    }
    EXPECT_TRUE(!sound || view->layers().size() == built.snapshots.size() + 1) << c.path;
  }
  EXPECT_GT(seen, 300U);
}

constexpr std::string_view plain =
    "image size=4M cluster_size=4K\ndata 0..9\ndata 600..605\nzero 20\nsnapshot\ndata 5\n";

std::string said(const View& view, const Layer& layer) {
  std::string text;
  for (const auto& piece : pieces(view, layer)) {
    constexpr std::string_view names[] = {"below", "zero", "data", "stream", "lost"};
    fmt::format_to(std::back_inserter(text), "{}{} {}K{}{}", text.empty() ? "" : ", ",
                   names[static_cast<std::size_t>(piece.kind)], piece.length / 1024,
                   piece.why.empty() ? "" : ": ", piece.why);
  }
  return text;
}
std::string said(std::string_view recipe) {
  const Devices devices(recipe);
  const auto view = must(View::open(devices.image, devices.options()));
  return said(view, view.layers().front());
}
std::string damaged(std::string_view damage) { return said(fmt::format("{}damage:\n{}\n", plain, damage)); }

TEST(View, tells_runs_and_holes_in_one_piece) {
  EXPECT_EQ(said("image size=1T\ndata 0..3\n"), "data 256K, below 1073741568K");
  EXPECT_EQ(said("image size=1M cluster_size=16K extended_l2\nsubclusters 0 allocated=0..3 zero=4..7\n"),
            "data 2K, zero 2K, below 1020K");
  EXPECT_EQ(said("image size=1M version=2\ndata 0..1\n"), "data 128K, below 896K");
}

TEST(View, tells_what_damage_costs) {
  const auto all = damaged("");
  EXPECT_EQ(all, "data 20K, data 4K, data 16K, below 40K, zero 4K, below 2316K, data 24K, below 1672K");
  EXPECT_EQ(damaged("set l1[1].offset = l1[1] + 512"),
            "data 20K, data 4K, data 16K, below 40K, zero 4K, below 1964K, "
            "lost 2048K: its L1 entry is not aligned");
  EXPECT_EQ(damaged("set l1[1] = 0x8000000000000000"),
            "data 20K, data 4K, data 16K, below 40K, zero 4K, below 1964K, "
            "lost 2048K: its L1 entry has lost its offset");
  EXPECT_EQ(damaged("set l1[1].offset = 0x40000000"),
            "data 20K, data 4K, data 16K, below 40K, zero 4K, below 1964K, "
            "lost 2048K: its L2 table lies behind the end of the file");
  EXPECT_EQ(damaged("set l1[1].offset = @reftable"),
            "data 20K, data 4K, data 16K, below 40K, zero 4K, below 1964K, "
            "lost 2048K: its L1 entry points at other metadata");
  EXPECT_EQ(
      damaged("set l2[0][2].offset = 0x40000000"),
      "data 8K, lost 4K: its place lies behind the end of the file, data 8K, data 4K, data 16K, below 40K, "
      "zero 4K, below 2316K, data 24K, below 1672K");
  EXPECT_EQ(damaged("set l2[0][2].offset = @refblock[0]"),
            "data 8K, lost 4K: its place is a refcount block's, data 8K, data 4K, data 16K, below 40K, "
            "zero 4K, below 2316K, data 24K, below 1672K");
  EXPECT_EQ(damaged("set l2[0][2].offset = @l2[1]"),
            "data 8K, lost 4K: its place is an L2 table's, data 8K, data 4K, data 16K, below 40K, "
            "zero 4K, below 2316K, data 24K, below 1672K");
  EXPECT_EQ(
      damaged("set l2[0][2].offset = @l1"),
      "data 8K, lost 4K: its place belongs to the image's own tables, data 8K, data 4K, data 16K, below 40K, "
      "zero 4K, below 2316K, data 24K, below 1672K");
  EXPECT_EQ(damaged("set l2[0][2].reserved_high = 1"),
            "data 8K, data 4K: its L2 entry has reserved bits, data 8K, data 4K, data 16K, below 40K, "
            "zero 4K, below 2316K, data 24K, below 1672K");
  EXPECT_EQ(damaged("noise @l2[1] seed 1"),
            "data 20K, data 4K, data 16K, below 40K, zero 4K, below 1964K, "
            "lost 2048K: its L2 table is none: other bytes lie there");
  EXPECT_EQ(said("image size=64M cluster_size=4K\ndata 0..9\ndamage:\nnoise @l1 seed 1\n"),
            "lost 65536K: the L1 table is none: other bytes lie there");
  EXPECT_EQ(damaged("set header.l1_size = 1"),
            "data 20K, data 4K, data 16K, below 40K, zero 4K, below 1964K, "
            "lost 2048K: the L1 table is too short for the disk");
}

// What the refcount table names is a block only while it looks like one: a damaged entry takes no data away.
TEST(View, a_damaged_refcount_table_costs_no_data) {
  const auto text = damaged("set reftable[1] = @data[3]");
  EXPECT_NE(text.find("data 4K: its place is a refcount block's"), std::string::npos) << text;
  EXPECT_EQ(text.find("lost"), std::string::npos) << text;
}

TEST(View, a_cut_file_shows_what_is_left) {
  const auto text = damaged("truncate @data[602] + 1024");
  EXPECT_NE(
      text.find(
          "data 9K, lost 3K: its cluster is cut by the end of the file, lost 12K: its place lies behind"),
      std::string::npos)
      << text;
}

TEST(View, a_failing_sector_of_a_table_costs_its_entries) {
  Devices devices(plain);
  const auto recipe = must(corpus::build(plain));
  const auto sound = must(View::open(devices.image));
  std::array<std::byte, 8> word{};
  (void)devices.image.read(sound.layers()[0].l1.raw() + 8, word);
  const std::uint64_t l2 =
      base::load_be<std::uint64_t, 0>(std::span<const std::byte, 8>(word)) & format::entry_offset_mask;
  // Entries 600 - 512 = 88 to 93 lie in the table's second sector, 704 bytes on.
  const storage::FaultDevice failing(devices.image,
                                     {{.begin = l2 + 512, .end = l2 + 1024, .persistent = true}});
  const auto view = must(View::open(failing));
  EXPECT_EQ(said(view, view.layers().front()),
            "data 20K, data 4K, data 16K, below 40K, zero 4K, below 2220K, "
            "lost 256K: its L2 table can't be read, below 1536K");
}

TEST(View, reading_tells_the_bytes_that_failed) {
  Devices devices("image size=1M cluster_size=4K\ndata 0..9\ncompressed 10\n");
  const auto sound = must(View::open(devices.image));
  const auto all = pieces(sound, sound.layers().front());
  ASSERT_EQ(all[0].kind, Kind::data);
  ASSERT_EQ(all[1].kind, Kind::compressed);
  const storage::FaultDevice failing(
      devices.image, {{.begin = all[0].host + 1024, .end = all[0].host + 1536, .persistent = true}});
  const auto view = must(View::open(failing));
  std::vector<std::byte> bytes(4096);
  const auto unread = view.read(all[0], 512, bytes);
  ASSERT_TRUE(unread);
  EXPECT_EQ(unread->begin, 512U);
  EXPECT_EQ(unread->end, 1024U);
  EXPECT_FALSE(view.read(all[0], 4096, bytes));
  EXPECT_FALSE(view.read(all[1], 0, bytes));
  EXPECT_FALSE(base::all_zero(bytes));
  const std::vector<std::byte> junk(16, std::byte{0xff});
  ASSERT_TRUE(devices.image.write(all[1].host, junk));
  ASSERT_TRUE(view.read(all[1], 0, bytes));
  EXPECT_TRUE(base::all_zero(bytes));
}

TEST(View, a_header_may_come_from_elsewhere) {
  Devices devices(plain);
  const auto sound = must(View::open(devices.image));
  const auto header = sound.header();
  const auto before = said(sound, sound.layers().front());
  ASSERT_TRUE(devices.image.write(0, std::vector<std::byte>(104, std::byte{0})));
  EXPECT_FALSE(View::open(devices.image));
  const View view(devices.image, header, sound.geometry());
  EXPECT_EQ(said(view, view.layers().front()), before);
  ASSERT_EQ(view.layers().size(), 2U);
  EXPECT_EQ(said(view, view.layers()[1]), said(sound, sound.layers()[1]));
}

TEST(View, vm_state_lies_behind_the_disk) {
  const Devices devices("image size=1M cluster_size=4K\ndata 0..9\nsnapshot vm_state=100K\n");
  const auto view = must(View::open(devices.image));
  const auto& layer = view.layers().at(1);
  EXPECT_EQ(layer.size, 1U << 20);
  EXPECT_EQ(layer.vm_state, 2U << 20);
  EXPECT_EQ(layer.end, layer.vm_state + 100 * 1024);
  EXPECT_EQ(pieces(view, layer).back().kind, Kind::data);
  EXPECT_EQ(view.layers()[0].end, 1U << 20);
}

}  // namespace
}  // namespace cowvet::repair
