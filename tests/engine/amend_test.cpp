// Bitmaps, VM state, header changes, recounting: what the random operations of model_test.cpp don't reach.
// The check finds nothing in any result.
#include <algorithm>

#include <gtest/gtest.h>

#include "storage/overlay.hpp"
#include "tests/engine/images.hpp"

namespace cowvet::engine {
namespace {

using namespace testing_images;

// An image that is opened for writing, closed, checked and opened again.
class Opened {
 public:
  explicit Opened(std::string_view recipe, OpenOptions options = {})
      : device_(build(recipe).file.bytes()), options_(std::move(options)) {
    options_.writable = true;
    open();
  }
  Qcow2Disk* operator->() { return disk_.get(); }
  Qcow2Disk& operator*() { return *disk_; }
  void open() { disk_ = must(Qcow2Disk::open(device_, options_)); }
  void close_and_check() {
    must(disk_->close());
    disk_.reset();
    EXPECT_EQ(findings(device_, Leaks::none, true), "");
    open();
  }
  // As a crash does: nothing more is written.
  void drop() { disk_.reset(); }
  storage::MemoryDevice& device() { return device_; }

 private:
  storage::MemoryDevice device_;
  OpenOptions options_;
  std::unique_ptr<Qcow2Disk> disk_;
};

TEST(Bitmaps, record_what_is_written) {
  Opened image(
      "image size=1M cluster_size=4K\nbitmap name=on granularity=4K set=0 auto\nbitmap name=off "
      "granularity=4K set=1");
  must(image->write(at(40000), filled(5000, 1)));
  must(image->zero(at(81920), 4096, Unmap::yes));
  image.close_and_check();
  for (std::uint64_t i = 0; i < 256; ++i) {
    const bool written = i == 0 || (i >= 40000 / 4096 && i <= 44999 / 4096) || i == 20;
    EXPECT_EQ(must(image->bitmap_marked("on", at(i * 4096), 4096)), written) << i;
    EXPECT_EQ(must(image->bitmap_marked("off", at(i * 4096), 4096)), i == 1) << i;
  }
}

TEST(Bitmaps, left_in_use_are_never_believed) {
  Opened image("image size=1M cluster_size=4K\nbitmap name=b granularity=4K set=0 auto");
  must(image->write(at(40000), filled(5000, 1)));
  must(image->flush());
  image.drop();
  image.open();
  ASSERT_EQ(image->bitmaps().size(), 1U);
  EXPECT_TRUE(image->bitmaps()[0].in_use);
  EXPECT_FALSE(image->bitmap_marked("b", at(0), 4096));
  EXPECT_FALSE(image->clear_bitmap("b"));
  must(image->write(at(0), filled(5000, 1)));
  image.close_and_check();
  EXPECT_TRUE(image->bitmaps()[0].in_use);
  must(image->remove_bitmap("b"));
  image.close_and_check();
  EXPECT_TRUE(image->bitmaps().empty());
}

TEST(Bitmaps, are_added_merged_cleared_enabled_and_removed) {
  Opened image("image size=1M cluster_size=4K\nfeature_names\nbacking \"x\" format=raw\ndata 0..255");
  must(image->add_bitmap("fine", 512, true));
  EXPECT_FALSE(image->add_bitmap("fine", 512, true));
  EXPECT_FALSE(image->add_bitmap("odd", 1000, true));
  must(image->write(at(100000), filled(1000, 1)));
  must(image->add_bitmap("coarse", 65536, false));
  must(image->merge_bitmap("coarse", *image, "fine"));
  image.close_and_check();
  EXPECT_TRUE(must(image->bitmap_marked("coarse", at(65536), 1)));
  EXPECT_FALSE(must(image->bitmap_marked("coarse", at(0), 65536)));
  EXPECT_TRUE(must(image->bitmap_marked("fine", at(100000), 1)));
  EXPECT_EQ(image->bitmaps()[0].enabled, true);
  must(image->clear_bitmap("fine"));
  must(image->enable_bitmap("fine", false));
  must(image->enable_bitmap("coarse", true));
  must(image->write(at(0), filled(512, 2)));
  image.close_and_check();
  EXPECT_FALSE(must(image->bitmap_marked("fine", at(0), 1 << 20)));
  EXPECT_TRUE(must(image->bitmap_marked("coarse", at(0), 1)));
  must(image->remove_bitmap("fine"));
  image.close_and_check();
  must(image->remove_bitmap("coarse"));
  image.close_and_check();
  EXPECT_TRUE(image->bitmaps().empty());
  EXPECT_EQ(image->backing_name(), "x");
}

TEST(Bitmaps, follow_the_disk_size) {
  Opened image(
      "image size=1M cluster_size=512\nsnapshot name=a\nbitmap name=b granularity=512 set=0,2047 auto\n"
      "bitmap name=off granularity=512 set=5");
  must(image->resize(8 << 20));
  must(image->write(at((8 << 20) - 512), filled(512, 1)));
  image.close_and_check();
  EXPECT_TRUE(must(image->bitmap_marked("b", at(2047 * 512), 512)));
  EXPECT_TRUE(must(image->bitmap_marked("b", at((8 << 20) - 512), 512)));
  EXPECT_FALSE(must(image->bitmap_marked("b", at(2 << 20), 1 << 20)));
  must(image->resize(512 << 10));
  image.close_and_check();
  must(image->apply_snapshot("a"));
  EXPECT_EQ(image->size(), 1U << 20);
  image.close_and_check();
  EXPECT_TRUE(must(image->bitmap_marked("b", at(700 << 10), 512)));
  EXPECT_FALSE(must(image->bitmap_marked("off", at(700 << 10), 512)));
}

TEST(VmState, goes_into_the_snapshot) {
  Opened image("image size=1M cluster_size=4K\ndata 0..3");
  must(image->write_vm_state(0, filled(3 << 20, 5)));
  must(image->write_vm_state(100, filled(10, 6)));
  EXPECT_EQ(must(image->create_snapshot("with", 1, 2)).vm_state_size, 3U << 20);
  must(image->write(at(0), filled(5000, 1)));
  EXPECT_EQ(must(image->create_snapshot("without", 1, 2)).vm_state_size, 0U);
  image.close_and_check();
  must(image->apply_snapshot("with"));
  Bytes state(3 << 20);
  must(image->read_vm_state(0, state));
  EXPECT_EQ(state[99], std::byte{5});
  EXPECT_EQ(state[100], std::byte{6});
  EXPECT_EQ(state.back(), std::byte{5});
  image.close_and_check();
  must(image->resize(3 << 20));
  EXPECT_TRUE(base::all_zero(base::ConstBytes(content(*image)).subspan(1 << 20)));
  image.close_and_check();
}

TEST(Snapshots, with_copied_flags_from_another_time_are_not_written_in_place) {
  // Only in tables of the active mapping does COPIED mean anything: programs leave it set elsewhere.
  Opened image(
      "image size=1M cluster_size=4K\ndata 0..9\nsnapshot name=a\ndata 0..9\ndamage:\n"
      "set snapshot[0].l2[0][3] |= 0x8000000000000000\nset snapshot[0].l1[0] |= 0x8000000000000000");
  const auto old = content(*must(image->snapshot_disk("a")));
  must(image->apply_snapshot("a"));
  image.close_and_check();
  must(image->write(at(0), filled(40960, 1)));
  EXPECT_TRUE(content(*must(image->snapshot_disk("a"))) == old);
  image.close_and_check();
  EXPECT_TRUE(content(*must(image->snapshot_disk("a"))) == old);
}

TEST(Amend, changes_the_backing_file) {
  for (const std::string_view clusters : {"512", "1K", "2K", "64K"}) {
    Opened image("image size=1M cluster_size=" + std::string(clusters) + "\nbacking \"base\" format=raw\n" +
                 (clusters == "512" ? "" : "feature_names\n") + "data 3");
    for (const auto& [name, format] : {std::pair<std::string, std::string>{"other", "qcow2"},
                                       {std::string(200, 'y'), ""},
                                       {"z", "raw"},
                                       {"", ""}}) {
      if (clusters == "512" && name.size() > 100) continue;
      must(image->set_backing_file(name, format));
      image.close_and_check();
      EXPECT_EQ(image->backing_name().value_or(""), name);
      EXPECT_EQ(image->backing_format().value_or(""), format);
    }
  }
}

TEST(Amend, changes_version_and_refcount_width) {
  Opened image(
      "image size=1M cluster_size=4K\ndata 0..9\nzero 12\nzero 13 preallocated\ncompressed 20..25\nsnapshot "
      "name=a\ndata 5\nzero 6");
  const auto before = content(*image);
  const auto old = content(*must(image->snapshot_disk("a")));
  for (const std::uint32_t order : {6U, 1U, 5U, 4U}) {
    base::Progress progress;
    const auto done = image->set_refcount_order(order, progress);
    if (order == 1)
      EXPECT_FALSE(done);  // compressed clusters share more often than three times
    else
      must(done);
    image.close_and_check();
    EXPECT_TRUE(content(*image) == before);
  }
  must(image->set_version(2));
  image.close_and_check();
  EXPECT_EQ(image->header().v2.version, 2U);
  EXPECT_TRUE(content(*image) == before);
  EXPECT_TRUE(content(*must(image->snapshot_disk("a"))) == old);
  must(image->write(at(0), filled(5000, 1)));
  must(image->set_version(3));
  image.close_and_check();
  EXPECT_EQ(image->header().v2.version, 3U);
  must(image->set_lazy_refcounts(true));
  image.close_and_check();
  EXPECT_TRUE(image->header().lazy_refcounts());
}

TEST(Amend, writes_zeros_out_for_version_2_over_a_backing_file) {
  OpenOptions options;
  options.backing = std::make_shared<PatternDisk>(1 << 20);
  Opened image(
      "image size=1M cluster_size=4K\nbacking \"b\" format=raw\ndata 0..9\nzero 12\nzero 13 preallocated",
      options);
  const auto before = content(*image);
  must(image->set_version(2));
  image.close_and_check();
  EXPECT_TRUE(content(*image) == before);
}

TEST(Lazy, a_dirty_image_is_counted_again) {
  Opened image(
      "image size=2M cluster_size=4K lazy_refcounts\ndata 0..9\ncompressed 20..25\nsnapshot name=a\nbitmap "
      "name=b set=1");
  must(image->write(at(100000), filled(500000, 1)));
  must(image->discard(at(0), 16384));
  must(image->flush());
  EXPECT_TRUE(image->header().dirty());
  const auto before = content(*image);
  image.drop();
  // Reading needs no refcounts.
  EXPECT_TRUE(content(*must(Qcow2Disk::open(image.device(), {}))) == before);
  image.open();
  EXPECT_FALSE(image->header().dirty());
  EXPECT_TRUE(content(*image) == before);
  image.close_and_check();
}

TEST(Lazy, a_dirty_image_with_other_faults_is_refused) {
  for (const std::string_view damage :
       {"set l2[0][3].offset = l2[0][4].offset", "set l2[0][3] |= 2", "set l1[0] |= 1"}) {
    const auto built = build("image size=2M cluster_size=4K lazy_refcounts dirty\ndata 0..9\ndamage:\n" +
                             std::string(damage));
    storage::MemoryDevice device(built.file.bytes());
    const auto opened = Qcow2Disk::open(device, {.writable = true});
    ASSERT_FALSE(opened) << damage;
    EXPECT_NE(opened.error().message.find("cowvet repair"), std::string::npos) << opened.error().message;
    EXPECT_TRUE(device.bytes() == built.file.bytes());
  }
}

TEST(Open, for_writing_refuses_corrupt_images_and_clears_unknown_autoclear_bits_at_the_first_write) {
  const auto corrupt = build("image corrupt\ndata 0");
  storage::MemoryDevice device(corrupt.file.bytes());
  EXPECT_FALSE(Qcow2Disk::open(device, {.writable = true}));
  EXPECT_TRUE(Qcow2Disk::open(device, {}));

  Opened image("image\ndata 0\ndamage:\nset header.autoclear_features = 0x80");
  EXPECT_EQ(image->header().v3.autoclear_features, 0x80U);
  must(image->write(at(0), filled(512, 1)));
  EXPECT_EQ(image->header().v3.autoclear_features, 0U);
  image.close_and_check();
}

TEST(Open, for_reading_writes_nothing) {
  const auto built = build("image lazy_refcounts dirty\ndata 0\nbitmap name=b auto");
  storage::MemoryDevice under(built.file.bytes());
  storage::Overlay device(under);
  {
    const auto disk = must(Qcow2Disk::open(device, {}));
    (void)content(*disk);
    EXPECT_FALSE(disk->write(at(0), filled(512, 1)));
    EXPECT_FALSE(disk->create_snapshot("x", 0, 0));
    must(disk->flush());
    must(disk->close());
  }
  EXPECT_TRUE(device.changes().empty());
}

TEST(Refcounts, a_full_narrow_count_stops_a_snapshot_and_changes_nothing) {
  Opened image("image size=1M cluster_size=4K refcount_bits=1\ndata 0..9");
  const auto before = content(*image);
  const auto made = image->create_snapshot("x", 0, 0);
  ASSERT_FALSE(made);
  EXPECT_EQ(made.error().kind, base::ErrorKind::limit);
  EXPECT_TRUE(content(*image) == before);
  image.close_and_check();
}

TEST(Damage, of_refcounts_or_entries_does_not_spread_to_metadata) {
  for (const std::string_view damage :
       {"set l2[0][0].offset = 0", "set l2[0][0].offset = @l1", "set refcount[@l1] = 0"}) {
    const auto built =
        build("image size=1M cluster_size=4K\ndata 0\nzero 1\ndamage:\n" + std::string(damage));
    storage::MemoryDevice device(built.file.bytes());
    const auto before = device.bytes();
    const auto disk = must(Qcow2Disk::open(device, {.writable = true}));
    const auto done = disk->write(at(damage.starts_with("set ref") ? 8192 : 0), filled(4096, 1));
    ASSERT_FALSE(done) << damage;
    const auto l1 = disk->header().v2.l1_table_offset.raw();
    EXPECT_TRUE(std::equal(before.begin(), before.begin() + 104, device.bytes().begin()));
    EXPECT_TRUE(std::equal(before.begin() + static_cast<std::ptrdiff_t>(l1),
                           before.begin() + static_cast<std::ptrdiff_t>(l1) + 8,
                           device.bytes().begin() + static_cast<std::ptrdiff_t>(l1)));
  }
}

TEST(Refcounts, grow_with_the_image) {
  for (const std::string_view bits : {"1", "16", "64"}) {
    Opened image("image size=4M cluster_size=512 refcount_bits=" + std::string(bits) + "\ndata 0..9");
    const auto table = image->header().v2.refcount_table_offset;
    for (int i = 0; i < 16; ++i) {
      must(image->write(at(static_cast<std::uint64_t>(i) << 18), filled(1 << 18, i)));
      if (i % 5 == 4) image.close_and_check();
    }
    image.close_and_check();
    EXPECT_EQ(image->header().v2.refcount_table_offset != table, bits == "64") << bits;
    for (int i = 0; i < 16; ++i)
      EXPECT_EQ(content(*image)[(static_cast<std::size_t>(i) << 18) + 7], static_cast<std::byte>(i));
  }
}

TEST(Requests, outside_the_disk_are_refused) {
  Opened image("image size=1M\ndata 0");
  Bytes bytes(1024);
  EXPECT_FALSE(image->read(at((1 << 20) - 512), bytes));
  EXPECT_FALSE(image->write(at((1 << 20) - 512), bytes));
  EXPECT_FALSE(image->write(at(~0ULL), bytes));
  EXPECT_FALSE(image->zero(at(0), (1 << 20) + 1, Unmap::no));
  EXPECT_FALSE(image->discard(at(1), ~0ULL));
  EXPECT_FALSE(image->write_compressed(at(512), bytes));
}

// An older table's entries, behind the end of the one that took its place, passed for lost snapshots.
TEST(Snapshots, leave_nothing_of_an_older_table_behind_theirs) {
  Opened image("image size=1M cluster_size=4K");
  for (const char* name : {"a", "b", "c"}) (void)must(image->create_snapshot(name, 1, 2));
  for (const char* name : {"a", "b"}) must(image->remove_snapshot(name));
  (void)must(image->create_snapshot("d", 1, 2));
  must(image->remove_snapshot("c"));
  const auto begin = static_cast<std::size_t>(image->header().v2.snapshots_offset.raw());
  image.close_and_check();
  const auto cluster = base::ConstBytes(image.device().bytes()).subspan(begin, 4096);
  const std::size_t entry = format::disk_size<format::SnapshotEntry> + 24 + 1 + 1;
  EXPECT_FALSE(base::all_zero(cluster.first(entry)));
  EXPECT_TRUE(base::all_zero(cluster.subspan(entry)));
}

}  // namespace
}  // namespace cowvet::engine
