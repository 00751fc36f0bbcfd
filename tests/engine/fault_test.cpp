// Faults of the device. At each of its calls in turn, once and from then on, reading, writing, growing or
// flushing fails: the operation says so or was not touched, what was flushed is still there, the image opens,
// and the check finds at worst leaks. A failed flush ends all changes.
#include "storage/fault.hpp"

#include <algorithm>
#include <functional>
#include <map>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "tests/engine/images.hpp"

namespace cowvet::engine {
namespace {

using namespace testing_images;
using storage::Fault;

// Does some of everything, stops at nothing, and tells whether an error was seen. `content` follows what succeeded;
// where something failed, it forgets what it knew.

constexpr int unknown = -1;

bool work(Qcow2Disk& disk, std::vector<int>& content) {
  bool failed = false;
  const auto note = [&](const base::Result<void>& result, std::uint64_t from, std::uint64_t length,
                        int value) {
    failed = failed || !result;
    std::fill_n(content.begin() + static_cast<std::ptrdiff_t>(from), length, result ? value : unknown);
  };
  note(disk.write(at(60000), filled(20000, 1)), 60000, 20000, 1);
  note(disk.write(at(1000), filled(9000, 2)), 1000, 9000, 2);
  note(disk.discard(at(12288), 8192), 12288, 8192, 0);
  note(disk.flush(), 0, 0, 0);
  note(disk.write(at(90112), filled(8192, 3)), 90112, 8192, 3);
  note(disk.write_compressed(at(49152), filled(4096, 4)), 49152, 4096, 4);
  note(disk.zero(at(3000), 3000, Unmap::yes), 3000, 3000, 0);
  note(disk.flush(), 0, 0, 0);
  note(disk.write(at(100000), filled(5000, 5)), 100000, 5000, 5);
  note(disk.close(), 0, 0, 0);
  return failed;
}

// Operations that exchange whole structures. They fail as they like: snapshots that there were read as before.
bool exchange(Qcow2Disk& disk) {
  bool failed = false;
  const auto note = [&](const base::Result<void>& result) { failed = failed || !result; };
  note(disk.add_bitmap("kept", 65536, true));
  note(disk.write(at(30000), filled(5000, 7)));
  note(disk.add_bitmap("gone", 512, true));
  note(disk.write(at(40000), filled(5000, 8)));
  note(disk.remove_bitmap("gone"));
  const auto made = disk.create_snapshot("new", 1, 2);
  failed = failed || !made;
  note(disk.write(at(1000), filled(9000, 2)));
  note(disk.write(at(60000), filled(9000, 2)));
  if (made) note(disk.apply_snapshot(made->id));
  note(disk.resize(disk.size() * 2));
  if (made) note(disk.remove_snapshot(made->id));
  note(disk.resize(disk.size() / 4));
  note(disk.close());
  return failed;
}

class Faults : public testing::TestWithParam<std::pair<const char*, const char*>> {};

TEST_P(Faults, lose_nothing_and_break_nothing) {
  const auto built = build(GetParam().second);
  storage::MemoryDevice clean(built.file.bytes());
  std::vector<int> start;
  for (const auto byte : content(*must(Qcow2Disk::open(clean, {})))) start.push_back(static_cast<int>(byte));

  int runs = 0;
  for (const auto operation :
       {Fault::Operation::read, Fault::Operation::write, Fault::Operation::resize, Fault::Operation::flush})
    for (const bool persistent : {false, true})
      for (const int error : {EIO, ENOSPC})
        for (std::uint64_t nth = 1; nth < 1000; ++nth) {
          if (error == ENOSPC && operation == Fault::Operation::read) break;
          storage::MemoryDevice device(built.file.bytes());
          storage::FaultDevice faulty(
              device, {{.operation = operation, .nth = nth, .persistent = persistent, .os_error = error}});
          const auto name =
              fmt::format("operation {} nth {} {} {}", static_cast<int>(operation), nth, persistent, error);
          auto expected = start;
          {
            const auto disk = Qcow2Disk::open(faulty, {.writable = true, .cache_bytes = 8192});
            if (disk && faulty.strikes() == 0) {
              const bool failed = work(**disk, expected);
              EXPECT_EQ(failed, faulty.strikes() != 0) << name;
              // The kernel may have dropped what a failed flush was for: nothing may be built on it.
              if (operation == Fault::Operation::flush && faulty.strikes() != 0) {
                EXPECT_FALSE((*disk)->write(at(0), filled(512, 9))) << name;
                EXPECT_FALSE((*disk)->flush()) << name;
              }
            } else {
              EXPECT_NE(faulty.strikes(), 0U) << name;
            }
          }
          ++runs;
          ASSERT_EQ(findings(device, Leaks::allowed, true), "") << name;
          const auto again = must(Qcow2Disk::open(device, {}));
          const auto now = content(*again);
          // Without a power cut, what was written is in the file as far as metadata got there: old or new, never else.
          for (std::size_t i = 0; i < now.size(); ++i)
            if (static_cast<int>(now[i]) != expected[i] && static_cast<int>(now[i]) != start[i]) {
              const int value = static_cast<int>(now[i]);
              ASSERT_TRUE(faulty.strikes() != 0 && value <= 5) << name << ": at " << i << " is " << value;
            }
          if (faulty.strikes() == 0) {
            for (std::size_t i = 0; i < now.size(); ++i)
              ASSERT_EQ(static_cast<int>(now[i]), expected[i]) << i;
            break;
          }
        }
  EXPECT_GT(runs, 50);
}

TEST_P(Faults, leave_structures_whole_or_exchanged) {
  const auto built = build(GetParam().second);
  const auto snapshots = [](const Qcow2Disk& disk) {
    std::map<std::string, Bytes> all;
    for (const auto& s : disk.snapshots()) all[s.id] = content(*must(disk.snapshot_disk(s.id)));
    return all;
  };
  storage::MemoryDevice clean(built.file.bytes());
  const auto before = snapshots(*must(Qcow2Disk::open(clean, {})));
  EXPECT_FALSE(exchange(*must(Qcow2Disk::open(clean, {.writable = true}))));
  const auto done = content(*must(Qcow2Disk::open(clean, {})));
  for (const auto operation :
       {Fault::Operation::read, Fault::Operation::write, Fault::Operation::resize, Fault::Operation::flush})
    for (const bool persistent : {false, true})
      for (std::uint64_t nth = 1; nth < 1000; ++nth) {
        storage::MemoryDevice device(built.file.bytes());
        storage::FaultDevice faulty(
            device, {{.operation = operation, .nth = nth, .persistent = persistent, .os_error = ENOSPC}});
        const auto name = fmt::format("operation {} nth {} {}", static_cast<int>(operation), nth, persistent);
        bool failed = true;
        {
          const auto disk = Qcow2Disk::open(faulty, {.writable = true, .cache_bytes = 8192});
          if (disk && faulty.strikes() == 0) {
            failed = exchange(**disk);
            EXPECT_TRUE(!failed || faulty.strikes() != 0) << name;
          }
        }
        ASSERT_EQ(findings(device, Leaks::allowed, true), "") << name;
        const auto opened = must(Qcow2Disk::open(device, {}));
        // A fault behind the write that exchanges is not told: what was asked for is done.
        if (!failed) {
          ASSERT_EQ(content(*opened) == done, true) << name;
          ASSERT_EQ(opened->bitmaps().size(), 1U) << name;
          ASSERT_EQ(opened->bitmaps().front().in_use, false) << name;
        }
        const auto after = snapshots(*opened);
        for (const auto& [id, bytes] : before) {
          ASSERT_TRUE(after.contains(id)) << name;
          ASSERT_EQ(after.at(id) == bytes, true) << name;
        }
        if (faulty.strikes() == 0) break;
      }
}

INSTANTIATE_TEST_SUITE_P(
    all, Faults,
    testing::Values(
        std::pair{"plain", "image size=128K cluster_size=4K\ndata 0..7\nzero 9\ncompressed 12..15"},
        std::pair{"shared",
                  "image size=128K cluster_size=4K\ndata 0..7\nzero 9\ncompressed 12..15\nsnapshot name=a"},
        std::pair{"tiny", "image size=128K cluster_size=512 refcount_bits=64\ndata 0..7"}),
    [](const auto& tested) { return std::string(tested.param.first); });

TEST(Faults, a_narrow_refcount_that_is_full_is_a_clear_error) {
  const auto built = build("image size=128K cluster_size=4K refcount_bits=1\ndata 0..3");
  storage::MemoryDevice device(built.file.bytes());
  const auto disk = must(Qcow2Disk::open(device, {.writable = true}));
  // One bit counts one owner: compressed clusters can't share, so each takes a host cluster.
  for (std::uint64_t i = 8; i < 16; ++i) must(disk->write_compressed(at(i * 4096), filled(4096, 7)));
  must(disk->close());
  EXPECT_EQ(findings(device, Leaks::none, true), "");
}

}  // namespace
}  // namespace cowvet::engine
