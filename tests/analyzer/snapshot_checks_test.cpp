// What the corpus can't say about snapshots: what is handed on to the walk, tables too large for a recipe, devices that
// fail, and images that want to exhaust the reader.
#include <gtest/gtest.h>

#include "storage/fault.hpp"
#include "tests/analyzer/checked.hpp"

namespace cowvet::analyzer {
namespace {

using namespace findings::literals;
using findings::Severity;

constexpr std::uint64_t cluster_size = 65536;

// Appends snapshots to an image that has none; their L1 table is the active one's neighbour unless they say otherwise.
class Table {
 public:
  explicit Table(Bytes& image)
      : image_(image), begin_((image.bytes.size() + cluster_size - 1) / cluster_size * cluster_size) {
    image.store(64, 8, begin_);
  }
  struct Entry {
    std::uint64_t l1 = 0;
    std::uint32_t l1_size = 1;
    std::string id = "1", name = "name";
    std::uint32_t extra_size = 24;
    std::uint64_t vm_state = 0, disk = 1 << 20;
    std::uint32_t date = 1'700'000'000;
  };
  void add(const Entry& e) {
    end_ = (end_ + 7) / 8 * 8;
    const std::uint64_t at = begin_ + end_;
    image_.store(at, 8, e.l1);
    image_.store(at + 8, 4, e.l1_size);
    image_.store(at + 12, 2, e.id.size());
    image_.store(at + 14, 2, e.name.size());
    image_.store(at + 16, 4, e.date);
    image_.store(at + 32, 4, e.vm_state);
    image_.store(at + 36, 4, e.extra_size);
    const std::uint64_t texts = at + 40 + e.extra_size;
    if (e.extra_size >= 16) {
      image_.store(at + 40, 8, e.vm_state);
      image_.store(at + 48, 8, e.disk);
    }
    if (e.extra_size >= 24) image_.store(at + 56, 8, ~0ULL);
    image_.store(texts, e.id);
    image_.store(texts + e.id.size(), e.name);
    end_ += 40 + e.extra_size + e.id.size() + e.name.size();
    image_.store(60, 4, ++count_);
  }
  [[nodiscard]] std::uint64_t begin() const { return begin_; }
  [[nodiscard]] std::uint64_t end() const { return begin_ + end_; }

 private:
  Bytes& image_;
  std::uint64_t begin_, end_ = 0;
  std::uint32_t count_ = 0;
};

TEST(SnapshotChecks, HandOnTheRegionsOfTheTableAndOfEachL1Table) {
  const Bytes image("image\nsnapshot name=first\nsnapshot name=second");
  const auto device = image.device();
  const Checked checked(*device);
  const auto table = checked.regions(Kind::snapshot_table);
  ASSERT_EQ(table.size(), 1U);
  EXPECT_EQ(table[0].begin.raw(), image.layout.snapshot_table.offset);
  EXPECT_EQ(table[0].length, 72U + 40 + 24 + 1 + 6);  // up to the end of the second name, without padding
  const auto tables = checked.regions(Kind::snapshot_l1);
  ASSERT_EQ(tables.size(), 2U);
  EXPECT_EQ(tables[1].begin.raw(), image.layout.snapshots[1].mapping.l1_offset);
  EXPECT_EQ(tables[1].length, 8U);
  EXPECT_EQ(tables[1].where(), "snapshot[1].l1");
  ASSERT_EQ(checked.image.snapshots.size(), 2U);
  EXPECT_TRUE(checked.image.snapshots[1].l1_usable);
  EXPECT_TRUE(checked.image.doubts.empty());
}

TEST(SnapshotChecks, AcceptAFileThatEndsWithTheLastNameAndOneThatIsPadded) {
  Bytes image("image\nsnapshot name=first");
  image.bytes.resize(image.layout.snapshot_table.offset + 70);
  EXPECT_TRUE(Checked(*image.device()).findings.empty());
  image.bytes.resize(image.layout.snapshot_table.offset + 72);
  EXPECT_TRUE(Checked(*image.device()).findings.empty());
  image.bytes.back() = std::byte{1};  // the last entry's padding belongs to nobody
  EXPECT_TRUE(Checked(*image.device()).findings.empty());
}

TEST(SnapshotChecks, ReadATableThatIsLongerThanWhatIsInMemoryAtOnce) {
  Bytes image("image\nreserve l1s clusters=1 content=none");
  Table table(image);
  constexpr std::uint32_t count = 5000;  // 1.2 MiB
  for (std::uint32_t i = 0; i < count; ++i)
    table.add({.l1 = image.layout.reserved.at("l1s").offset,
               .id = std::to_string(i + 1),
               .name = std::to_string(i) + std::string(180, 'n')});
  const Checked checked(*image.device());
  EXPECT_EQ(checked.image.snapshots.size(), count);
  EXPECT_EQ(checked.times("snapshot/l1-shared"_rule), count - 1);
  EXPECT_EQ(checked.findings.size(), 1000U);  // nothing else
  EXPECT_EQ(checked.regions(Kind::snapshot_table).front().length, table.end() - table.begin());
}

TEST(SnapshotChecks, JudgeLongTextsWholeAndKeepIdsCutAndNoNames) {
  Bytes image("image\nreserve a content=none\nreserve b content=none\nreserve c content=none");
  Table table(image);
  const std::string same(65'000, 'x');
  table.add({.l1 = image.layout.reserved.at("a").offset, .id = same + "1", .name = same});
  table.add({.l1 = image.layout.reserved.at("b").offset, .id = same + "2", .name = same});
  table.add({.l1 = image.layout.reserved.at("c").offset, .id = same + "2", .name = "other"});
  const Checked checked(*image.device());
  EXPECT_EQ(checked.only("snapshot/id-duplicate"_rule).where, "snapshot[2].id");
  EXPECT_EQ(checked.only("snapshot/name-duplicate"_rule).where, "snapshot[1].name");
  EXPECT_EQ(checked.times("snapshot/id-length"_rule), 3U);
  ASSERT_EQ(checked.image.snapshots.size(), 3U);
  EXPECT_EQ(checked.image.snapshots[0].data.id.size(), 128U);
  EXPECT_EQ(checked.image.snapshots[0].data.name, "");
}

TEST(SnapshotChecks, PassOverExtraDataThatIsInTheFileWithoutKeepingIt) {
  Bytes image("image\nreserve a content=none\nreserve b content=none");
  Table table(image);
  table.add({.l1 = image.layout.reserved.at("a").offset, .name = "first", .extra_size = 10 << 20});
  table.add({.l1 = image.layout.reserved.at("b").offset, .id = "2", .name = "second"});
  const Checked checked(*image.device());
  EXPECT_EQ(checked.only("snapshot/extra-too-large"_rule).where, "snapshot[0].extra_data_size");
  ASSERT_EQ(checked.image.snapshots.size(), 2U);
  EXPECT_EQ(checked.image.snapshots[0].data.entry.name_size, 5U);
  EXPECT_EQ(checked.image.snapshots[0].data.extra.size(), 24U);
  EXPECT_EQ(checked.image.snapshots[1].data.entry.name_size, 6U);
}

TEST(SnapshotChecks, TellADeviceThatFailsFromATableThatIsDamaged) {
  Bytes image("image\nsnapshot name=first");
  const auto under = image.device();
  const std::uint64_t table = image.layout.snapshot_table.offset;
  const storage::FaultDevice device(*under, {{.begin = table, .end = table + 512, .persistent = true}});
  const Checked checked(device);
  EXPECT_GE(checked.times("file/io-error"_rule), 1U);
  EXPECT_EQ(checked.findings.size(), checked.of("file/io-error"_rule).size());
  EXPECT_TRUE(checked.doubts("the snapshot table can't be read"));
}

TEST(SnapshotChecks, GoOnBehindAZeroedEntry) {
  Bytes image("image\nsnapshot name=first\nsnapshot name=second\nsnapshot name=third");
  const auto& second = image.layout.snapshots[1];
  std::fill_n(image.bytes.begin() + static_cast<std::ptrdiff_t>(second.offset), 72, std::byte{0});
  const Checked checked(*image.device());
  ASSERT_EQ(checked.image.snapshots.size(), 2U);
  EXPECT_EQ(checked.image.snapshots[1].index, 2U);
  EXPECT_EQ(checked.image.snapshots[1].data.id, "3");
  const auto finding = checked.only("snapshot/count-mismatch"_rule);
  EXPECT_EQ(finding.severity, Severity::error);
  EXPECT_EQ(finding.expected, findings::Value::dec(2));
  EXPECT_TRUE(checked.doubts("entries of zeros"));
}

TEST(SnapshotChecks, CallAnEntryBehindTheLastOneLostOnlyWhileItsL1TableIsInUse) {
  constexpr auto recipe =
      "image\nsnapshot name=first\nsnapshot name=second\ndamage:\nset header.nb_snapshots = 1\n";
  const Checked lost(*Bytes(recipe).device());
  EXPECT_EQ(lost.only("snapshot/count-mismatch"_rule).severity, Severity::note);
  EXPECT_TRUE(lost.doubts("goes on behind"));
  const Checked deleted(*Bytes(std::string(recipe) + "set refcount[@snapshot[1].l1] = 0").device());
  EXPECT_EQ(deleted.only("snapshot/count-mismatch"_rule).severity, Severity::note);
  EXPECT_TRUE(deleted.image.doubts.empty());
}

TEST(SnapshotChecks, KeepWhatMakesSenseOfATableWhoseLengthDoesNot) {
  const Checked checked(
      *Bytes("image\nsnapshot name=first\nsnapshot name=second\ndamage:\nset header.nb_snapshots = -1")
           .device());
  EXPECT_EQ(checked.image.snapshots.size(), 2U);
  EXPECT_EQ(checked.findings.size(), 1U);
  EXPECT_TRUE(checked.doubts("the number of snapshots is unknown"));
}

TEST(SnapshotChecks, StayQuietAboutATableThatAnInferredHeaderNames) {
  const Bytes image(
      "image\ndata 0..3\nsnapshot name=first\nsnapshot name=second\ndamage:\n"
      "write 4 u32 77\nset header.nb_snapshots = 100000");
  const Checked checked(*image.device());
  ASSERT_TRUE(checked.image.inferred);
  EXPECT_EQ(checked.image.snapshots.size(), 2U);
  for (const auto& finding : checked.findings) EXPECT_FALSE(finding.rule->name.starts_with("snapshot/"));
  EXPECT_TRUE(checked.doubts("snapshots may be unknown"));
}

TEST(SnapshotChecks, NameTheGuestRangesOfVmStateThatAreMissing) {
  const Checked checked(*Bytes("image\nsnapshot vm_state=256K\ndamage:\n"
                               "set snapshot[0].l2[1][1] = 0\nset snapshot[0].l2[1][3] = 0")
                             .device());
  const auto finding = checked.only("snapshot/vm-state-missing"_rule);
  ASSERT_EQ(finding.guest.size(), 2U);
  const std::uint64_t span = cluster_size * 8192;
  EXPECT_EQ(finding.guest[0].begin.raw(), span + cluster_size);
  EXPECT_EQ(finding.guest[0].length, cluster_size);
  EXPECT_EQ(finding.guest[0].snapshot, "1");
  EXPECT_EQ(finding.count, 2U);
}

TEST(SnapshotChecks, TakeZeroClustersOfAnOldVmStateForNothing) {
  // What QEMU leaves in the active layer once a machine's state was saved, and so in the next snapshot.
  const Checked checked(*Bytes("image\nsnapshot vm_state=128K\ndamage:\n"
                               "set snapshot[0].vm_state_size = 0\nset snapshot[0].vm_state_size_large = 0\n"
                               "set snapshot[0].l2[1][0] = 1\nset snapshot[0].l2[1][1] = 1")
                             .device());
  EXPECT_EQ(checked.times("snapshot/vm-state-orphan"_rule), 0U);
}

TEST(SnapshotChecks, StopWhenTheLookForVmStateGetsTooExpensive) {
  Bytes image("image\nreserve a content=none");
  constexpr std::uint32_t longest = 4 << 20;
  Table table(image);
  // The L1 table is a hole of 32 MiB behind the snapshot table.
  const std::uint64_t l1 = table.begin() + cluster_size;
  for (int i = 0; i < 5; ++i)
    table.add({.l1 = l1, .l1_size = longest, .id = std::to_string(i + 1), .name = std::to_string(i) + "th"});
  image.bytes.resize(l1 + longest * 8ULL);
  const Checked checked(*image.device());
  EXPECT_EQ(checked.only("security/snapshot-work"_rule).where, "header.nb_snapshots");
}

TEST(SnapshotChecks, StopWhenAsked) {
  const Bytes image("image\nsnapshot name=first vm_state=1M");
  const auto device = image.device();
  const Checked checked(*device, {}, true);
  EXPECT_TRUE(checked.image.snapshots.empty());
  EXPECT_TRUE(checked.findings.empty());
}

}  // namespace
}  // namespace cowvet::analyzer
