// Leaks that are more than wasted space: what was lost, and where it belongs, is said as far as it can be known, with
// little reading, and whatever fits into the map of labels.
#include <atomic>
#include <string>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "analyzer/check.hpp"
#include "tests/analyzer/checked.hpp"
#include "tests/analyzer/places.hpp"

namespace cowvet::analyzer {
namespace {

using namespace findings::literals;
using Findings = std::vector<findings::Finding>;

constexpr std::uint64_t cluster = 65536;

Verdict check_device(const storage::Device& device, std::optional<std::uint64_t> memory_limit = {}) {
  Options options;
  options.jobs = 1;
  options.memory_limit = memory_limit;
  findings::Collector collector{1000};
  base::Progress progress;
  auto verdict = check(device, options, collector, progress);
  EXPECT_TRUE(verdict);
  return verdict ? std::move(*verdict) : Verdict{};
}

Findings of(const Verdict& verdict, findings::RuleId rule) {
  Findings list;
  std::ranges::copy_if(verdict.findings, std::back_inserter(list),
                       [&](const auto& f) { return f.rule == rule; });
  return list;
}

Findings of(std::string_view recipe, findings::RuleId rule) {
  const Bytes image(recipe);
  return of(check_device(*image.device()), rule);
}

using Guest = std::vector<findings::GuestRange>;

// Adds up what is read of a file.
class CountingDevice final : public storage::Device {
 public:
  explicit CountingDevice(const storage::Device& under) : under_(under) {}
  [[nodiscard]] std::uint64_t size() const override { return under_.size(); }
  [[nodiscard]] std::uint64_t allocated() const override { return under_.allocated(); }
  [[nodiscard]] storage::Extent extent(std::uint64_t offset) const override { return under_.extent(offset); }
  void read(std::span<storage::ReadRequest> batch) const override {
    ++batches_;
    for (const auto& request : batch) bytes_ += request.into.size();
    under_.read(batch);
  }
  using storage::Device::read;
  [[nodiscard]] std::uint64_t bytes() const { return bytes_; }
  [[nodiscard]] std::uint64_t batches() const { return batches_; }

 private:
  const storage::Device& under_;
  mutable std::atomic<std::uint64_t> bytes_{0}, batches_{0};
};

TEST(Leaks, AreReadOnceAndOfDataOnlyTheFirstBytes) {
  const auto read = [](const char* recipe) {
    const Bytes image(recipe);
    const auto device = image.device();
    const CountingDevice counting(*device);
    (void)check_device(counting);
    return std::pair(counting.bytes(), counting.batches());
  };
  const auto sound = read("image size=64M\ndata 0..3");
  const auto leaky = read("image size=64M\ndata 0..3\nreserve lost clusters=512 content=noise");
  EXPECT_LE(leaky.first - sound.first, 512U * 4096 + 4 * cluster);
  EXPECT_LE(leaky.second - sound.second, 16U);
}

TEST(LostTables, BetweenTheirNeighboursAreAssignedInOrder) {
  const auto lost =
      of("image size=4G\ndata 0..3,8192..8195,16384..16387,24576..24579\ndamage:\n"
         "set l1[1] = 0\nset l1[2] = 0",
         "refcount/leak-holds-table"_rule);
  ASSERT_EQ(lost.size(), 2U);
  EXPECT_EQ(lost[0].guest, Guest{guest(512 * mib, 512 * mib)});
  EXPECT_EQ(lost[1].guest, Guest{guest(1024 * mib, 512 * mib)});
}

TEST(LostTables, MoreThanThereAreEmptyEntriesAreCountedAgainstThem) {
  const auto lost =
      of("image size=1G\ndata 8192..8195\nreserve older\ndata 0..3\ndamage:\n"
         "copy @l2[1] to @older\nset l1[1] = 0",
         "refcount/leak-holds-table"_rule);
  ASSERT_EQ(lost.size(), 2U);
  for (const auto& f : lost) {
    EXPECT_EQ(f.guest, Guest{guest(512 * mib, 512 * mib)});
    EXPECT_NE(f.detail.find("2 lost tables may belong there"), std::string::npos) << f.detail;
  }
}

TEST(LostTables, OfTheSameKindAreOneFinding) {
  std::string recipe = "image size=16M cluster_size=512\ndata 0";
  for (int i = 1; i < 512; ++i) recipe += fmt::format(",{}", i * 64);
  const auto lost = of(recipe + "\ndamage:\nzero @l1", "refcount/leak-holds-table"_rule);
  ASSERT_EQ(lost.size(), 1U);
  EXPECT_EQ(lost[0].count, 512U);
  EXPECT_EQ(lost[0].guest, Guest{guest(0, 16 * mib)});
}

TEST(LostTables, DoNotBelongToEntriesThatACutFileExplains) {
  // The table behind l1[2] was cut off; the one that l1[1] named is still there.
  const auto lost =
      of("image size=2G\ndata 0..3,8192..8195,24576..24579\ndata 16384..16400\ndamage:\n"
         "set l1[1] = 0\ntruncate @l2[2]",
         "refcount/leak-holds-table"_rule);
  ASSERT_EQ(lost.size(), 1U);
  EXPECT_EQ(lost[0].guest, Guest{guest(512 * mib, 512 * mib)});
}

TEST(LostTables, ArePlacedByASnapshotsCopy) {
  const auto lost =
      of("image size=4G\ndata 8192..8200,16384..16387\nsnapshot\ndata 8192\ndamage:\nset l1[1] = 0",
         "refcount/leak-holds-table"_rule);
  ASSERT_EQ(lost.size(), 1U);
  EXPECT_EQ(lost[0].guest, Guest{guest(512 * mib, 512 * mib)});
  EXPECT_NE(lost[0].detail.find("snapshot[0].l1[1] names a table with the same entries"), std::string::npos)
      << lost[0].detail;
}

TEST(LostTables, OfALostSnapshotSayWhoseTheyAre) {
  const auto lost =
      of("image size=2G\ndata 8192..8195\nsnapshot name=first\ndata 8193\ndamage:\n"
         "set header.nb_snapshots = 0\nset header.snapshots_offset = 0",
         "refcount/leak-holds-table"_rule);
  const auto it = std::ranges::find_if(lost, [](const auto& f) { return !f.guest.empty(); });
  ASSERT_NE(it, lost.end());
  EXPECT_EQ(it->guest, Guest{guest(512 * mib, 512 * mib, "1")});
  EXPECT_NE(it->detail.find("l1[1] of the lost snapshot \"first\" (id 1)"), std::string::npos) << it->detail;
}

TEST(LostTables, AreFoundInAnyWindow) {
  const Bytes image(
      "image size=512M cluster_size=512 refcount_bits=1\ndata 0..63\nplace 200M\ndata 64..127\n"
      "damage:\nset l1[1] = 0");
  const auto device = image.device();
  EXPECT_EQ(check_device(*device, 0).findings, check_device(*device).findings);
}

TEST(ZeroedTables, AreNamedWithTheGuestsRange) {
  const auto zeroed = of("image size=2G\ndata 0..3,8192..8195\ndamage:\nzero @l2[1]", "l2/table-zeroed"_rule);
  ASSERT_EQ(zeroed.size(), 1U);
  EXPECT_EQ(zeroed[0].where, "l1[1].l2");
  EXPECT_EQ(zeroed[0].guest, Guest{guest(512 * mib, 512 * mib)});
}

TEST(ZeroedTables, AreNotSuspectedWhenALostTableNamesTheData) {
  EXPECT_TRUE(of("image size=2G\ndata 0..3,8192..8195\nunmap 8192..8195\ndata 4\ndamage:\nset l1[0] = 0",
                 "l2/table-zeroed"_rule)
                  .empty());
}

TEST(LostEntries, NameTheRangeOfTheLayerThatLostIt) {
  const auto lost =
      of("image size=2G\ndata 0..3,8192..8195\nsnapshot\ndamage:\nset l1[1] = 0", "l1/entry-lost"_rule);
  ASSERT_EQ(lost.size(), 1U);
  EXPECT_EQ(lost[0].where, "l1[1]");
  EXPECT_EQ(lost[0].guest, Guest{guest(512 * mib, 512 * mib)});
}

TEST(LostEntries, AreNotClaimedOfATableThatOnlyCountsTooHigh) {
  EXPECT_TRUE(of("image size=2G\ndata 0..3,8192..8195\nsnapshot\ndamage:\nset refcount[@l2[1]] += 1",
                 "l1/entry-lost"_rule)
                  .empty());
}

TEST(LostSnapshots, AreNamedByIdAndName) {
  const auto lost =
      of("image\ndata 0..3\nsnapshot name=first\ndata 1\nsnapshot name=second\ndamage:\n"
         "set header.nb_snapshots = 0",
         "snapshot/lost"_rule);
  ASSERT_EQ(lost.size(), 2U);
  EXPECT_NE(lost[0].detail.find("\"first\" (id 1)"), std::string::npos);
  EXPECT_NE(lost[1].detail.find("\"second\" (id 2)"), std::string::npos);
  EXPECT_EQ(lost[1].guest, Guest{guest(0, mib, "2")});
}

TEST(StaleBitmaps, ExplainTheirLeakedClusters) {
  const Bytes image(
      "image\ndata 0..3\nbitmap name=b1 set=0..3\ndamage:\nset header.autoclear_features.bitmaps = 0");
  const auto verdict = check_device(*image.device());
  EXPECT_EQ(verdict.summary.worst(), findings::Severity::leak);
  const auto leaks = of(verdict, "refcount/leak"_rule);
  ASSERT_EQ(leaks.size(), 1U);
  EXPECT_NE(leaks[0].detail.find("bitmap \"b1\""), std::string::npos) << leaks[0].detail;
}

}  // namespace
}  // namespace cowvet::analyzer
