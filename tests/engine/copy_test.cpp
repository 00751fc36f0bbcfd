// Copies: whatever the source consists of, the target reads the same; faults of either device are told and never become
// zeros; what is written and what is not.
#include "engine/copy.hpp"

#include <algorithm>
#include <chrono>
#include <map>
#include <random>
#include <thread>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "engine/copy_plan.hpp"
#include "engine/create.hpp"
#include "engine/lost_ranges.hpp"
#include "engine/raw_disk.hpp"
#include "storage/fault.hpp"
#include "tests/engine/images.hpp"

namespace cowvet::engine {
namespace {

using namespace testing_images;
using Kind = CopyRun::Kind;

// A source of given runs; data is a pattern, and what is compared too.
class ListedSource final : public CopySource {
 public:
  explicit ListedSource(std::vector<CopyRun> runs) : runs_(std::move(runs)) {
    for (const auto& run : runs_) {
      const std::uint64_t begin = bytes_.size();
      bytes_.resize(bytes_.size() + run.length);
      if (run.kind == Kind::zero) continue;
      for (std::uint64_t at = begin; at < bytes_.size(); ++at) bytes_[at] = PatternDisk::at(at);
    }
  }
  [[nodiscard]] std::uint64_t size() const override { return bytes_.size(); }
  [[nodiscard]] std::uint64_t granule() const override { return 1024; }
  [[nodiscard]] base::Result<CopyRun> run(std::uint64_t at, std::uint64_t most) override {
    if (unknown.contains(at / 1024 * 1024)) return base::fail(base::ErrorKind::io, "unknown");
    std::uint64_t end = 0;
    for (const auto& run : runs_) {
      end += run.length;
      if (at >= end) continue;
      std::uint64_t length = std::min(most, end - at);
      for (const auto& [bad, why] : unknown)
        if (bad > at) length = std::min(length, bad - at);
      return CopyRun{run.kind, length};
    }
    return base::fail(base::ErrorKind::usage, "behind the end");
  }
  [[nodiscard]] base::Result<void> read(std::uint64_t at, base::MutableBytes into) const override {
    for (const auto& [bad, why] : unreadable)
      if (at < bad + 512 && bad < at + into.size()) return base::fail(base::ErrorKind::io, why);
    std::ranges::copy(base::ConstBytes(bytes_).subspan(at, into.size()), into.begin());
    return {};
  }
  [[nodiscard]] Bytes& bytes() { return bytes_; }

  std::map<std::uint64_t, std::string> unreadable;  // sectors
  std::map<std::uint64_t, std::string> unknown;     // granules

 private:
  std::vector<CopyRun> runs_;
  Bytes bytes_;
};

std::vector<CopyStep> steps(CopySource& source, std::uint64_t unit, std::uint64_t piece,
                            bool write_zeros = false) {
  CopyPlan plan(source, unit, piece, write_zeros, {});
  std::vector<CopyStep> list;
  while (true) {
    const auto step = must(plan.next());
    if (!step) return list;
    list.push_back(*step);
  }
}

TEST(CopyPlan, covers_the_source_once_in_pieces_and_whole_units) {
  std::mt19937 random(5);
  for (int i = 0; i < 200; ++i) {
    std::vector<CopyRun> runs;
    for (auto n = random() % 12; n > 0; --n)
      runs.push_back({static_cast<Kind>(random() % 4), 512 * (1 + random() % (random() % 2 != 0 ? 4 : 100))});
    ListedSource source(runs);
    for (const std::uint64_t unit : {1U, 2048U, 8192U}) {
      std::uint64_t at = 0;
      for (const auto& step : steps(source, unit, 16384)) {
        ASSERT_EQ(step.at, at);
        ASSERT_GT(step.length, 0U);
        if (step.kind == Kind::data || step.kind == Kind::compared) {
          ASSERT_LE(step.at / 16384, (step.at + step.length - 1) / 16384);
          ASSERT_LE(step.length, 16384U);
        }
        at += step.length;
        ASSERT_TRUE(at == source.size() || at % unit == 0);
        // What is zero or kept is so as a whole.
        if (step.kind != Kind::zero && step.kind != Kind::kept) continue;
        for (std::uint64_t part = step.at; part < at;) {
          const auto run = must(source.run(part, at - part));
          ASSERT_EQ(run.kind, step.kind);
          part += run.length;
        }
      }
      ASSERT_EQ(at, source.size());
    }
  }
}

TEST(CopyPlan, zeros_are_data_where_they_are_to_be_written) {
  ListedSource source({{Kind::zero, 4096}, {Kind::data, 4096}, {Kind::kept, 4096}});
  const auto list = steps(source, 1, 1 << 20, true);
  ASSERT_EQ(list.size(), 2U);
  EXPECT_EQ(list[0].kind, Kind::data);
  EXPECT_EQ(list[0].length, 8192U);
  EXPECT_EQ(list[1].kind, Kind::kept);
}

TEST(LostRanges, neighbours_and_overlaps_become_one) {
  LostRanges lost;
  lost.add(1024, 512, "b");
  lost.add(4096, 512, "c");
  lost.add(512, 512, "a");
  lost.add(1000, 100, "again");
  lost.add(1536, 512, "d");
  std::vector<std::string> told;
  lost.each([&](std::uint64_t at, std::uint64_t length, const std::string& why) {
    told.push_back(fmt::format("{} {} {}", at, length, why));
  });
  EXPECT_EQ(told, (std::vector<std::string>{"512 1536 a", "4096 512 c"}));
}

// The bytes of a disk that a copy was made to.
struct Copied {
  base::Result<void> result;
  Bytes bytes;
  std::vector<std::string> lost;
};

Copied copy_to_raw(CopySource& source, storage::Device& device, CopyOptions options = {},
                   bool salvage = false) {
  Copied copied;
  const auto disk = open_raw(device, true);
  if (salvage)
    options.lost = [&](std::uint64_t at, std::uint64_t length, const std::string& why) {
      copied.lost.push_back(fmt::format("{} {} {}", at, length, why));
    };
  base::Progress progress;
  copied.result = copy_disk(source, {.disk = *disk, .name = "target", .reads_zero = true}, options, progress);
  copied.bytes = content(*disk);
  return copied;
}

storage::MemoryDevice empty(std::uint64_t size) {
  return storage::MemoryDevice(Bytes(static_cast<std::size_t>(size)));
}

const std::vector<CopyRun> mixed{{Kind::data, 3 << 20}, {Kind::zero, 1 << 20}, {Kind::data, 700 << 10},
                                 {Kind::zero, 4096},    {Kind::data, 4096},    {Kind::zero, 5 << 20},
                                 {Kind::data, 512}};

TEST(Copy, gives_the_same_bytes_with_any_number_of_threads) {
  for (const unsigned jobs : {1U, 2U, 7U}) {
    ListedSource source(mixed);
    auto device = empty(source.size());
    const auto copied = copy_to_raw(source, device, {.jobs = jobs});
    must(copied.result);
    EXPECT_TRUE(copied.bytes == source.bytes()) << jobs;
  }
}

TEST(Copy, zeros_in_data_are_not_written_unless_asked_for) {
  for (const std::uint64_t unit : {0U, 512U, 4096U, 65536U}) {
    ListedSource source({{Kind::data, 2 << 20}});
    std::fill_n(source.bytes().begin() + 8192, 8192, std::byte{0});
    std::fill_n(source.bytes().begin() + 100000, 300000, std::byte{0});
    // Who writes zeros is seen over ones.
    storage::MemoryDevice device(Bytes(2 << 20, std::byte{1}));
    const auto copied = copy_to_raw(source, device, {.zero_unit = unit});
    must(copied.result);
    EXPECT_EQ(copied.bytes[9000], unit == 0 || unit == 65536 ? std::byte{0} : std::byte{1}) << unit;
    EXPECT_EQ(copied.bytes[200000], unit == 0 ? std::byte{0} : std::byte{1}) << unit;
    EXPECT_EQ(copied.bytes[1 << 20], source.bytes()[1 << 20]);
  }
}

TEST(Copy, reading_that_fails_is_an_error_with_the_first_place) {
  for (const unsigned jobs : {1U, 4U}) {
    ListedSource source(mixed);
    source.unreadable = {{2 << 20, "the first"}, {(2 << 20) + 600000, "the second"}};
    auto device = empty(source.size());
    const auto copied = copy_to_raw(source, device, {.jobs = jobs});
    ASSERT_FALSE(copied.result);
    EXPECT_EQ(copied.result.error().message, "the first");
  }
}

TEST(Copy, salvaging_loses_the_sectors_that_can_not_be_read_and_no_other) {
  for (const unsigned jobs : {1U, 4U}) {
    ListedSource source(mixed);
    source.unreadable = {{512 * 7, "a"}, {512 * 8, "b"}, {(4 << 20) + 512, "c"}};
    source.unknown = {{2 << 20, "unknown"}};
    auto device = empty(source.size());
    const auto copied = copy_to_raw(source, device, {.jobs = jobs}, true);
    must(copied.result);
    EXPECT_EQ(copied.lost,
              (std::vector<std::string>{"3584 1024 a", "2097152 1024 unknown", "4194816 512 c"}));
    auto expected = source.bytes();
    std::fill_n(expected.begin() + 3584, 1024, std::byte{0});
    std::fill_n(expected.begin() + (2 << 20), 1024, std::byte{0});
    std::fill_n(expected.begin() + (4 << 20) + 512, 512, std::byte{0});
    EXPECT_TRUE(copied.bytes == expected);
  }
}

TEST(Copy, a_target_that_fails_at_any_write_is_an_error_with_its_name) {
  for (std::uint64_t nth = 1;; ++nth) {
    ListedSource source(mixed);
    auto device = empty(source.size());
    storage::FaultDevice faulty(device, {{.operation = storage::Fault::Operation::write,
                                          .nth = nth,
                                          .persistent = true,
                                          .os_error = ENOSPC}});
    const auto copied = copy_to_raw(source, faulty, {.jobs = 3});
    if (faulty.strikes() == 0) {
      must(copied.result);
      EXPECT_GT(nth, 10U);
      break;
    }
    ASSERT_FALSE(copied.result) << nth;
    EXPECT_TRUE(copied.result.error().message.starts_with("target: error while writing at byte "))
        << copied.result.error().message;
    EXPECT_EQ(copied.result.error().os_error, ENOSPC);
  }
}

// Takes its time to fail, once, so that what comes behind becomes ready meanwhile.
class SlowlyFailing final : public Disk {
 public:
  [[nodiscard]] std::uint64_t size() const override { return 16 << 20; }
  [[nodiscard]] bool writable() const override { return true; }
  [[nodiscard]] base::Result<void> read(base::GuestOffset, base::MutableBytes) const override { return {}; }
  [[nodiscard]] base::Result<Extent> extent(base::GuestOffset, std::uint64_t most) const override {
    return Extent{.length = most};
  }
  [[nodiscard]] base::Result<void> write(base::GuestOffset at, base::ConstBytes) override {
    if (failed) written_behind = true;
    if (at.raw() != 1 << 20) return {};
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    failed = true;
    return base::fail(base::ErrorKind::io, "no room");
  }
  [[nodiscard]] base::Result<void> zero(base::GuestOffset, std::uint64_t, Unmap) override { return {}; }
  [[nodiscard]] base::Result<void> discard(base::GuestOffset, std::uint64_t) override { return {}; }
  [[nodiscard]] base::Result<void> flush() override { return {}; }
  bool failed = false, written_behind = false;
};

TEST(Copy, nothing_is_written_behind_a_write_that_failed) {
  ListedSource source(mixed);
  SlowlyFailing disk;
  base::Progress progress;
  EXPECT_FALSE(copy_disk(source, {.disk = disk, .name = "target"}, {.jobs = 3}, progress));
  EXPECT_TRUE(disk.failed);
  EXPECT_FALSE(disk.written_behind);
}

TEST(Copy, stops_when_asked) {
  ListedSource source(mixed);
  auto device = empty(source.size());
  const auto disk = open_raw(device, true);
  base::Progress progress;
  progress.request_stop();
  const auto done = copy_disk(source, {.disk = *disk, .name = "target", .reads_zero = true}, {}, progress);
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().kind, base::ErrorKind::cancelled);
}

TEST(Copy, keeps_to_the_rate) {
  ListedSource source({{Kind::data, 1 << 20}, {Kind::zero, 64 << 20}});
  auto device = empty(source.size());
  const auto begin = std::chrono::steady_clock::now();
  must(copy_to_raw(source, device, {.jobs = 2, .rate = 4 << 20}).result);
  const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - begin;
  EXPECT_GT(taken.count(), 0.17);  // the last of four pieces begins after 768 KiB: at 0.1875 s
  EXPECT_LT(taken.count(), 10);
}

TEST(Copy, compares_and_keeps_what_the_target_shows_already) {
  const PatternDisk below(1 << 20);
  ListedSource source({{Kind::compared, 1 << 20}, {Kind::kept, 4096}, {Kind::compared, 8192}});
  source.bytes()[70000] ^= std::byte{1};
  storage::MemoryDevice device(Bytes(static_cast<std::size_t>(source.size()), std::byte{1}));
  const auto disk = open_raw(device, true);
  base::Progress progress;
  must(copy_disk(source, {.disk = *disk, .name = "target", .below = &below}, {}, progress));
  const auto bytes = content(*disk);
  for (std::size_t at = 0; at < bytes.size(); ++at) {
    const bool written = at / 4096 == 70000 / 4096 || at >= (1 << 20) + 4096;  // the disk below ends before
    ASSERT_EQ(bytes[at], written ? source.bytes()[at] : std::byte{1}) << at;
  }
}

// A new image with these options, opened for writing.
struct NewDisk {
  storage::MemoryDevice device{Bytes{}};
  std::unique_ptr<Qcow2Disk> disk;
  explicit NewDisk(const CreateOptions& options) {
    base::Progress progress;
    must(create_qcow2(device, nullptr, options, progress));
    disk = must(Qcow2Disk::open(device, {.writable = true}));
  }
};

TEST(Copy, makes_sound_images_compressed_and_plain) {
  for (const bool compressed : {false, true})
    for (const auto codec : {format::Compression::deflate, format::Compression::zstd})
      for (const std::uint64_t cluster : {512U, 65536U, 2U << 20})
        for (const std::uint64_t zero_unit : {0U, 4096U}) {
          auto runs = mixed;
          runs.push_back({Kind::data, 100352});  // the disk ends within a cluster
          ListedSource source(runs);
          // Some noise: not every cluster shrinks.
          std::mt19937 random(3);
          for (std::size_t at = 1 << 20; at < 3 << 19; ++at)
            source.bytes()[at] = static_cast<std::byte>(random());
          NewDisk made({.size = source.size(), .cluster_size = cluster, .compression = codec});
          base::Progress progress;
          must(copy_disk(source,
                         {.disk = *made.disk,
                          .name = "target",
                          .reads_zero = true,
                          .compressed = compressed ? made.disk.get() : nullptr},
                         {.zero_unit = zero_unit, .jobs = 3}, progress));
          EXPECT_EQ(progress.done(), source.size());
          EXPECT_TRUE(content(*made.disk) == source.bytes());
          must(made.disk->close());
          EXPECT_EQ(findings(made.device, Leaks::none, true), "");
          EXPECT_EQ(qemu_objects(made.device, *must(Qcow2Disk::open(made.device, {}))), "");
        }
}

TEST(Copy, a_compressed_copy_leaves_what_lies_behind_the_source) {
  ListedSource source({{Kind::data, 100352}});
  NewDisk made({.size = 1 << 20});
  must(made.disk->write(base::GuestOffset{0}, Bytes(1 << 20, std::byte{7})));
  base::Progress progress;
  must(
      copy_disk(source, {.disk = *made.disk, .name = "target", .compressed = made.disk.get()}, {}, progress));
  const auto bytes = content(*made.disk);
  EXPECT_TRUE(std::equal(source.bytes().begin(), source.bytes().end(), bytes.begin()));
  EXPECT_EQ(bytes[source.size()], std::byte{7});
}

}  // namespace
}  // namespace cowvet::engine
