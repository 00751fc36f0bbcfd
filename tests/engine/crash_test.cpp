// What a crash leaves. Every operation's writes are recorded; each prefix of them, with every single
// unflushed write and random sets of them missing, is an image that a crash may leave: it has at worst leaks,
// every snapshot reads as it did, and every byte of the disk reads as at the last flush or as written since.
#include <algorithm>
#include <functional>
#include <random>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "storage/recorder.hpp"
#include "tests/engine/images.hpp"
#include "tests/engine/replay.hpp"

namespace cowvet::engine {
namespace {

using namespace testing_images;
using storage::Event;

struct Workload {
  std::string name, recipe;
  // `note` is called where the content so far is one that a crash may leave.
  std::function<void(Qcow2Disk&, const std::function<void()>& note)> work;
};

class Crash : public testing::TestWithParam<Workload> {
 protected:
  // What a byte may be: its value before the work and after each step of it.
  void allow(const Disk& disk) { allowed_.push_back(content(disk)); }
  void judge(const Bytes& image, const std::string& when);

  std::vector<Bytes> allowed_;
  std::vector<Bytes> snapshots_;
  std::set<Bytes> seen_;
  int states_ = 0;
};

void Crash::judge(const Bytes& image, const std::string& when) {
  if (!seen_.insert(image).second) return;
  ++states_;
  storage::MemoryDevice device(image);
  ASSERT_EQ(findings(device, Leaks::allowed, true), "") << when;
  auto opened = Qcow2Disk::open(device, {});
  ASSERT_TRUE(opened) << opened.error().message << when;
  const auto now = content(**opened);
  const auto fits = [&](const Bytes& state) { return state.size() == now.size(); };
  ASSERT_TRUE(std::ranges::any_of(allowed_, fits)) << when << ": a disk of " << now.size() << " bytes";
  for (std::size_t at = 0; at < now.size(); at += 512) {
    const auto sector = base::ConstBytes(now).subspan(at, std::min<std::size_t>(512, now.size() - at));
    ASSERT_TRUE(std::ranges::any_of(allowed_,
                                    [&](const Bytes& state) {
                                      return at < state.size() &&
                                             std::ranges::equal(
                                                 sector, base::ConstBytes(state).subspan(
                                                             at, std::min(sector.size(), state.size() - at)));
                                    }))
        << when << ": neither old nor new at " << at;
  }
  // Snapshots that were there stay, and read as before; also after one more write.
  for (int pass = 0; pass < 2; ++pass) {
    for (std::size_t i = 0; i < snapshots_.size() && i < (*opened)->snapshots().size(); ++i) {
      const auto snapshot = must((*opened)->snapshot_disk((*opened)->snapshots()[i].id));
      ASSERT_TRUE(std::ranges::any_of(snapshots_, [&](const Bytes& s) { return s == content(*snapshot); }))
          << when << ": snapshot";
    }
    if (pass == 1) break;
    auto again = Qcow2Disk::open(device, {.writable = true});
    ASSERT_TRUE(again) << again.error().message << when;
    must((*again)->write(base::GuestOffset{0}, filled(std::min<std::size_t>(20000, now.size()), 0xee)));
    must((*again)->close());
    ASSERT_EQ(findings(device, Leaks::allowed, true), "") << when << ", after one more write";
    opened = Qcow2Disk::open(device, {});
  }
}

TEST_P(Crash, leaves_a_sound_image) {
  const auto& load = GetParam();
  const auto built = build(load.recipe);
  storage::MemoryDevice device(built.file.bytes());
  const Bytes start = device.bytes();
  storage::Recorder recorder(device);
  {
    auto disk = must(Qcow2Disk::open(recorder, {.writable = true}));
    allow(*disk);
    for (const auto& s : disk->snapshots()) snapshots_.push_back(content(*must(disk->snapshot_disk(s.id))));
    load.work(*disk, [&] { allow(*disk); });
    allow(*disk);
    must(disk->close());
    for (const auto& s : disk->snapshots()) snapshots_.push_back(content(*must(disk->snapshot_disk(s.id))));
  }
  const auto events = recorder.events();
  std::mt19937 random(1);
  for (std::size_t end = 0; end <= events.size() && !HasFatalFailure(); ++end) {
    const auto prefix = std::span(events).first(end);
    const auto name = [&](std::string_view how) {
      return fmt::format("{} after {} of {} events{}", load.name, end, events.size(), how);
    };
    judge(replay(start, prefix, [](std::size_t) { return true; }), name(""));
    if (end != events.size() && events[end].kind != Event::Kind::flush) continue;
    // Before the next flush, anything since the last one may be missing.
    judge(replay(start, prefix, [](std::size_t) { return false; }), name(", none unflushed"));
    for (std::size_t lost = end;
         lost > 0 && events[lost - 1].kind != Event::Kind::flush && !HasFatalFailure(); --lost) {
      judge(replay(start, prefix, [&](std::size_t i) { return i != lost - 1; }),
            name(fmt::format(" without {}", lost - 1)));
      judge(replay(start, prefix, [&](std::size_t i) { return i == lost - 1; }),
            name(fmt::format(" with {} alone", lost - 1)));
    }
    for (int i = 0; i < 24 && !HasFatalFailure(); ++i) {
      const auto salt = random();
      judge(replay(start, prefix,
                   [&](std::size_t k) { return std::hash<std::size_t>{}(k * 2654435761U ^ salt) >> 7 & 1U; }),
            name(fmt::format(" with random part {}", i)));
    }
  }
  RecordProperty("states", states_);
}

std::vector<Workload> workloads() {
  std::vector<Workload> list;
  const std::string small = "image size=128K cluster_size=4K\ndata 0..7\nzero 9\ncompressed 12..15\n";
  const std::string shared = small + "snapshot name=a\n";
  const std::string tiny = "image size=96K cluster_size=512 refcount_bits=64\ndata 0..7\n";
  const std::string pieces =
      "image size=256K cluster_size=16K extended_l2\ndata 0..3\nsubclusters 5 allocated=0..9\n";
  const auto add = [&](std::string name, std::string recipe, decltype(Workload::work) work) {
    list.push_back({.name = std::move(name), .recipe = std::move(recipe), .work = std::move(work)});
  };
  for (const auto& [kind, recipe] :
       {std::pair{"plain", small}, {"shared", shared}, {"tiny", tiny}, {"pieces", pieces}}) {
    const std::string k = std::string("_") + kind;
    add("write_new" + k, recipe,
        [](Qcow2Disk& d, const auto&) { must(d.write(at(60000), filled(20000, 1))); });
    add("write_over" + k, recipe,
        [](Qcow2Disk& d, const auto&) { must(d.write(at(1000), filled(9000, 1))); });
    add("zero" + k, recipe, [](Qcow2Disk& d, const auto&) { must(d.zero(at(1000), 50000, Unmap::yes)); });
    add("discard_then_write" + k, recipe, [](Qcow2Disk& d, const auto& note) {
      must(d.discard(at(0), 16384));
      note();
      must(d.write(at(65536), filled(16384, 2)));
    });
    add("discard_flush_write" + k, recipe, [](Qcow2Disk& d, const auto& note) {
      must(d.discard(at(0), 16384));
      note();
      must(d.flush());
      note();
      must(d.write(at(65536), filled(16384, 2)));
    });
    add("compressed_new" + k, recipe,
        [](Qcow2Disk& d, const auto&) { must(d.write_compressed(at(65536), filled(32768, 3))); });
    add("compressed_over" + k, recipe, [](Qcow2Disk& d, const auto& note) {
      must(d.write_compressed(at(0), filled(32768, 3)));
      note();
      must(d.write(at(65536), filled(8192, 2)));
    });
    add("over_compressed" + k, recipe, [](Qcow2Disk& d, const auto& note) {
      must(d.write(at(49152), filled(5000, 4)));
      note();
      must(d.flush());
      note();
      must(d.write(at(70000), filled(20000, 5)));
    });
  }
  const std::string two = shared + "data 2..5\nsnapshot name=b\ndata 4..6\n";
  for (const auto& [kind, recipe] :
       {std::pair{"plain", small}, {"two", two}, {"tiny", tiny}, {"pieces", pieces}}) {
    const std::string k = std::string("_") + kind;
    add("snapshot" + k, recipe,
        [](Qcow2Disk& d, const auto&) { (void)must(d.create_snapshot("new", 1, 2)); });
    add("snapshot_then_write" + k, recipe, [](Qcow2Disk& d, const auto& note) {
      (void)must(d.create_snapshot("new", 1, 2));
      note();
      must(d.write(at(1000), filled(9000, 1)));
    });
    add("grow" + k, recipe, [](Qcow2Disk& d, const auto&) { must(d.resize(400 * 1024)); });
    add("shrink" + k, recipe, [](Qcow2Disk& d, const auto&) { must(d.resize(10240)); });
    add("shrink_then_grow" + k, recipe, [](Qcow2Disk& d, const auto& note) {
      must(d.resize(10240));
      note();
      must(d.resize(200 * 1024, Preallocation::full));
    });
  }
  add("apply", two, [](Qcow2Disk& d, const auto&) { must(d.apply_snapshot("a")); });
  add("apply_then_write", two, [](Qcow2Disk& d, const auto& note) {
    must(d.apply_snapshot("a"));
    note();
    must(d.write(at(1000), filled(9000, 1)));
  });
  add("apply_of_another_size",
      "image size=128K cluster_size=4K\ndata 0..7\nsnapshot name=a\nresize 64K\ndata 2",
      [](Qcow2Disk& d, const auto&) { must(d.apply_snapshot("a")); });
  add("remove_first", two, [](Qcow2Disk& d, const auto&) { must(d.remove_snapshot("a")); });
  add("remove_last", two, [](Qcow2Disk& d, const auto&) { must(d.remove_snapshot("b")); });
  add("remove_then_write", shared, [](Qcow2Disk& d, const auto& note) {
    must(d.remove_snapshot("a"));
    note();
    must(d.write(at(1000), filled(9000, 1)));
  });
  const std::string recording =
      small + "bitmap name=on granularity=4K set=0..3 auto\nbitmap name=off granularity=4K set=5\n";
  const std::string named =
      "image size=128K cluster_size=4K\nfeature_names\nbacking \"old\" format=raw\ndata 0..31\n";
  add("bitmap_written", recording,
      [](Qcow2Disk& d, const auto&) { must(d.write(at(60000), filled(20000, 1))); });
  add("bitmap_added", small, [](Qcow2Disk& d, const auto&) { must(d.add_bitmap("new", 4096, true)); });
  add("bitmap_added_to_others", recording, [](Qcow2Disk& d, const auto& note) {
    must(d.write(at(60000), filled(20000, 1)));
    note();
    must(d.add_bitmap("new", 4096, true));
    must(d.write(at(0), filled(20000, 1)));
  });
  add("bitmap_removed", recording, [](Qcow2Disk& d, const auto&) { must(d.remove_bitmap("off")); });
  add("bitmap_last_removed", small + "bitmap name=b set=1",
      [](Qcow2Disk& d, const auto&) { must(d.remove_bitmap("b")); });
  add("bitmap_enabled", recording, [](Qcow2Disk& d, const auto&) { must(d.enable_bitmap("off", true)); });
  add("bitmap_resized", recording, [](Qcow2Disk& d, const auto&) { must(d.resize(1 << 20)); });
  add("backing_renamed", named,
      [](Qcow2Disk& d, const auto&) { must(d.set_backing_file("another name", "qcow2")); });
  add("backing_dropped", named, [](Qcow2Disk& d, const auto&) { must(d.set_backing_file("", "")); });
  add("backing_long_name", named,
      [](Qcow2Disk& d, const auto&) { must(d.set_backing_file(std::string(1000, 'x'), "raw")); });
  add("refcounts_widened", two, [](Qcow2Disk& d, const auto&) {
    base::Progress progress;
    must(d.set_refcount_order(6, progress));
  });
  add("refcounts_narrowed", two, [](Qcow2Disk& d, const auto&) {
    base::Progress progress;
    must(d.set_refcount_order(2, progress));
  });
  add("version_lowered", two + "zero 1 preallocated\nzero 2\n",
      [](Qcow2Disk& d, const auto&) { must(d.set_version(2)); });
  add("version_raised",
      "image version=2 size=128K cluster_size=4K\nbacking \"b\" format=raw\ndata 0..31\nsnapshot "
      "name=a\ndata 3",
      [](Qcow2Disk& d, const auto&) { must(d.set_version(3)); });
  add("vm_state", shared, [](Qcow2Disk& d, const auto&) {
    must(d.write_vm_state(5000, filled(9000, 7)));
    (void)must(d.create_snapshot("new", 1, 2));
  });
  // A table that another snapshot lacks: while it is counted for one layer too many, it must be plain why.
  add("write_over_a_table_that_a_snapshot_lacks",
      "image size=96K cluster_size=512\ndata 0..3\nsnapshot name=a\ndata 70\nsnapshot name=b",
      [](Qcow2Disk& d, const auto&) { must(d.write(at(70 * 512), filled(512, 1))); });
  // Runs that are large enough to be given back to the file system.
  add("space_given_back", "image size=512K cluster_size=64K\ndata 0..7\n",
      [](Qcow2Disk& d, const auto& note) {
        must(d.discard(at(0), 256 << 10));
        note();
        must(d.flush());
        must(d.write(at(256 << 10), filled(64 << 10, 2)));
      });
  add("space_of_replaced_data", "image size=512K cluster_size=64K\ndata 0..7\n",
      [](Qcow2Disk& d, const auto&) { must(d.write_compressed(at(0), filled(256 << 10, 3))); });
  add("grow_behind_a_full_last_cluster", "image size=128K cluster_size=4K\ndata 0..31\nresize 126K\n",
      [](Qcow2Disk& d, const auto&) { must(d.resize(200 << 10)); });
  // The refcount table grows: its one cluster names 64 blocks of 64 clusters.
  add("refcount_table_moves", "image size=4M cluster_size=512 refcount_bits=64\ndata 0..3400\n",
      [](Qcow2Disk& d, const auto&) { must(d.write(at(3500 * 512), filled(400 * 512, 1))); });
  return list;
}

INSTANTIATE_TEST_SUITE_P(all, Crash, testing::ValuesIn(workloads()),
                         [](const auto& tested) { return tested.param.name; });

}  // namespace
}  // namespace cowvet::engine
