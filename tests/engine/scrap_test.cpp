// The note of scrap (format/scrap.hpp): what a broken operation leaves is explained by its own note, and by
// nothing that only looks like one. A stale or forged note explains nothing and frees nothing; QEMU opens,
// checks and writes such an image and keeps the note; without room for a note an operation works all the
// same.
#include "format/scrap.hpp"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <optional>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "storage/fault.hpp"
#include "tests/engine/images.hpp"
#include "tests/storage/temporary.hpp"

namespace cowvet::engine {
namespace {

using namespace testing_images;
using storage::Fault;

constexpr std::array mark{std::byte{0x53}, std::byte{0x43}, std::byte{0x52}, std::byte{0x50}};
constexpr std::uint64_t record_at = 8;  // behind the extension's type and length
const std::string plain = "image size=128K cluster_size=4K\ndata 0..7\nsnapshot name=a\ndata 0..3";

// The old snapshot table is no table of offsets, so it is not noted: a plain leak.
constexpr std::string_view only_snapshot_table =
    "leak refcount/leak at cluster[19] [0x13000 +0x1000] expected 0, actual 1 \n";

// Where the note lies in the image, if there is one.
std::optional<std::uint64_t> note_in(const Bytes& image) {
  const auto found = std::ranges::search(base::ConstBytes(image).first(4096), mark);
  if (found.empty()) return std::nullopt;
  return static_cast<std::uint64_t>(&*found.begin() - image.data());
}

format::ScrapRecord record_of(const storage::MemoryDevice& device, std::uint64_t note) {
  return format::decode<format::ScrapRecord>(*base::prefix<format::disk_size<format::ScrapRecord>>(
      base::ConstBytes(device.bytes()).subspan(note + record_at)));
}

void put_record(storage::MemoryDevice& device, std::uint64_t note, const format::ScrapRecord& record) {
  must(device.write(note + record_at, format::encode(record)));
}

// The image as the removal of its snapshot leaves it when the device is full from the n-th write on.
Bytes broken_off(const Bytes& image, std::uint64_t nth) {
  storage::MemoryDevice device(image);
  storage::FaultDevice faulty(device,
                              {{.operation = Fault::Operation::write, .nth = nth, .persistent = true}});
  if (const auto disk = Qcow2Disk::open(faulty, {.writable = true}))
    EXPECT_FALSE((*disk)->remove_snapshot((*disk)->snapshots().front().id));
  return device.bytes();
}

// A state in which the snapshot is gone, and its tables are still counted.
Bytes leaking(const std::string& recipe) {
  const Bytes image = build(recipe).file.bytes();
  for (std::uint64_t nth = 1; nth < 100; ++nth) {
    storage::MemoryDevice device(broken_off(image, nth));
    if (must(Qcow2Disk::open(device, {}))->snapshots().empty()) {
      EXPECT_NE(findings(device), "");
      return device.bytes();
    }
  }
  throw std::runtime_error("the removal never gets that far");
}

TEST(Scrap, explains_what_a_broken_removal_leaves_and_is_counted_down) {
  for (const std::string& recipe : {plain, "image version=2 " + plain.substr(plain.find("size"))}) {
    storage::MemoryDevice device(leaking(recipe));
    ASSERT_TRUE(note_in(device.bytes())) << recipe;
    EXPECT_EQ(findings(device, Leaks::allowed, true), "") << recipe;
    must(must(Qcow2Disk::open(device, {.writable = true}))->close());
    EXPECT_EQ(findings(device, Leaks::none, true), only_snapshot_table) << recipe;
    EXPECT_FALSE(note_in(device.bytes())) << recipe;
  }
}

// Whether the check takes what lies in the noted table for lost data, and opening frees none of it.
void expect_unexplained(storage::MemoryDevice& device, std::string_view what) {
  EXPECT_NE(findings(device, Leaks::allowed), "") << what;
  const auto before = findings(device);
  if (const auto disk = Qcow2Disk::open(device, {.writable = true})) must((*disk)->close());
  EXPECT_EQ(findings(device), before) << what;
}

TEST(Scrap, that_is_stale_explains_nothing) {
  storage::MemoryDevice device(leaking(plain));
  const auto record = record_of(device, *note_in(device.bytes()));
  // One bit of the table, and one bit of a table that it names, in an entry that leads nowhere so far.
  const auto child =
      format::scrap_child(base::BigEndianTable<std::uint64_t>(
                              base::ConstBytes(device.bytes()).subspan(record.offset.raw(), 8))[0],
                          *format::Geometry::make(12, 4, false));
  ASSERT_TRUE(child);
  for (const std::uint64_t at : {record.offset.raw() + 1, child->raw() + 4096 - 3}) {
    storage::MemoryDevice changed(device.bytes());
    must(changed.write(at, std::array{changed.bytes()[static_cast<std::size_t>(at)] ^ std::byte{0x10}}));
    expect_unexplained(changed, fmt::format("a bit at {:#x}", at));
  }
}

TEST(Scrap, that_is_forged_explains_nothing) {
  const storage::MemoryDevice device(leaking(plain));
  const auto note = *note_in(device.bytes());
  const auto good = record_of(device, note);
  const auto forged = [&](std::string_view what, auto&& change) {
    storage::MemoryDevice copy(device.bytes());
    auto record = good;
    change(record);
    put_record(copy, note, record);
    expect_unexplained(copy, what);
  };
  forged("checksum", [](auto& r) { r.checksum ^= 1; });
  forged("length", [](auto& r) { r.length = 16; });
  forged("no length", [](auto& r) { r.length = 0; });
  forged("a length that is no multiple", [](auto& r) { r.length = 7; });
  forged("a huge length", [](auto& r) { r.length = 0xfffffff8; });
  forged("unaligned", [](auto& r) { r.offset = base::HostOffset{r.offset.raw() + 512}; });
  forged("past the end", [](auto& r) { r.offset = base::HostOffset{1ULL << 40}; });
  forged("no offset at all", [](auto& r) { r.offset = base::HostOffset{~std::uint64_t{0}}; });
}

// A record that is true to the byte, of a table that has an owner: nothing of it may be freed.
TEST(Scrap, of_a_table_in_use_frees_nothing) {
  storage::MemoryDevice device(leaking(plain));
  const auto note = *note_in(device.bytes());
  const auto g = *format::Geometry::make(12, 4, false);
  const auto header = *format::decode_header(device.bytes());
  const auto l1 = header.v2.l1_table_offset;
  const auto length = header.v2.l1_size * 8;
  const auto sum = format::scrap_checksum(base::ConstBytes(device.bytes()).subspan(l1.raw(), length), g,
                                          [&](base::HostOffset at, base::MutableBytes into) {
                                            return device.read(at.raw(), into).os_error == 0;
                                          });
  put_record(device, note, {l1, length, sum.value()});
  const auto expected = content(*must(Qcow2Disk::open(device, {})));
  must(must(Qcow2Disk::open(device, {.writable = true}))->close());
  EXPECT_EQ(content(*must(Qcow2Disk::open(device, {}))), expected);
  // What the broken removal left is not explained any more; of the layer that is there nothing is missing.
  EXPECT_EQ(findings(device, Leaks::allowed).find("refcount/zero-in-use"), std::string::npos);
  EXPECT_EQ(findings(device, Leaks::allowed).find("refcount/too-low"), std::string::npos);
}

TEST(Scrap, without_room_in_the_first_cluster_is_not_noted) {
  const std::string recipe = "image size=128K cluster_size=4K\nextension 0x12345678 \"" +
                             std::string(3960, 'x') + "\"\ndata 0..7\nsnapshot name=a\ndata 0..3";
  const Bytes image = build(recipe).file.bytes();
  storage::MemoryDevice device(image);
  const auto disk = must(Qcow2Disk::open(device, {.writable = true}));
  must(disk->remove_snapshot(disk->snapshots().front().id));
  must(disk->close());
  EXPECT_EQ(findings(device, Leaks::none, true), "");
  const auto expected = content(*disk);
  for (std::uint64_t nth = 1; nth < 100; ++nth) {
    storage::MemoryDevice left(broken_off(image, nth));
    ASSERT_FALSE(note_in(left.bytes())) << nth;
    ASSERT_EQ(content(*must(Qcow2Disk::open(left, {}))) == expected, true) << nth;
    for (const auto* wrong : {"refcount/zero-in-use", "refcount/too-low"})
      ASSERT_EQ(findings(left, Leaks::allowed).find(wrong), std::string::npos) << nth;
    if (must(Qcow2Disk::open(left, {}))->snapshots().empty()) return;
  }
  FAIL() << "the removal never gets that far";
}

TEST(Scrap, is_kept_by_qemu) {
  const auto run = [](const std::string& command) {
    return std::system((command + " >/dev/null 2>&1").c_str());  // NOLINT(concurrency-mt-unsafe): one thread
  };
  if (run("qemu-img --version") != 0) GTEST_SKIP() << "qemu-img is not installed";
  storage::MemoryDevice device(leaking(plain));
  const tests::Folder folder;
  const auto path = folder / "image";
  std::ofstream(path, std::ios::binary)
      .write(reinterpret_cast<const char*>(device.bytes().data()),
             static_cast<std::streamsize>(device.bytes().size()));
  EXPECT_EQ(run(fmt::format("qemu-img check -f qcow2 {}", path.string())), 3 << 8);  // leaks only
  // Writing what has its place leaves the leaked tables alone; a bitmap makes QEMU write the header anew.
  EXPECT_EQ(run(fmt::format("qemu-io -f qcow2 -c 'write -P 9 0 512' {}", path.string())), 0);
  EXPECT_EQ(run(fmt::format("qemu-img amend -f qcow2 -o lazy_refcounts=on {}", path.string())), 0);
  Bytes bytes(static_cast<std::size_t>(std::filesystem::file_size(path)));
  std::ifstream(path, std::ios::binary)
      .read(reinterpret_cast<char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
  ASSERT_TRUE(note_in(bytes));
  storage::MemoryDevice after(bytes);
  EXPECT_EQ(findings(after, Leaks::allowed, true), "");
  must(must(Qcow2Disk::open(after, {.writable = true}))->close());
  EXPECT_EQ(findings(after, Leaks::none, true), only_snapshot_table);
  EXPECT_EQ(content(*must(Qcow2Disk::open(after, {}))).front(), std::byte{9});
}

}  // namespace
}  // namespace cowvet::engine
