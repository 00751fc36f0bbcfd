// Devices that fail: a sector that is never read costs itself alone, in every layer that shows it; one that is read at
// last costs nothing; and nothing of the image is written.
#include "repair/salvage.hpp"

#include <gtest/gtest.h>

#include "engine/create.hpp"
#include "repair/understood.hpp"
#include "storage/fault.hpp"
#include "storage/retries.hpp"
#include "tests/repair/images.hpp"

namespace cowvet::repair {
namespace {

using namespace testing_images;

constexpr std::string_view recipe =
    "image size=4M cluster_size=64K\ndata 0..9\nsnapshot vm_state=100K\ndata 5\nsnapshot\nzero 2\n";

struct Copied {
  std::vector<SalvagedLayer> layers;
  std::unique_ptr<storage::MemoryDevice> device = std::make_unique<storage::MemoryDevice>();
  std::unique_ptr<engine::Qcow2Disk> disk;
};

Copied salvage(const storage::Device& image) {
  base::Progress progress;
  Copied copied;
  const auto understood = must(Understood::open(image, {}, progress));
  const auto created =
      engine::create_qcow2(*copied.device, nullptr, {.size = understood->best().layers()[1].size}, progress);
  if (!created) throw std::runtime_error(created.error().message);
  copied.disk = must(engine::Qcow2Disk::open(*copied.device, {.writable = true}));
  copied.layers = must(salvage_all(understood->readable(), *copied.disk, {}, progress));
  return copied;
}

std::vector<std::byte> content(const engine::Disk& disk) {
  std::vector<std::byte> bytes(static_cast<std::size_t>(disk.size()));
  if (!disk.read(base::GuestOffset{0}, bytes)) throw std::runtime_error("the copy can't be read");
  return bytes;
}

TEST(Salvage, a_failing_sector_costs_itself_in_each_layer_that_shows_it) {
  Devices devices(recipe);
  const auto view = must(View::open(devices.image));
  const auto whole = salvage(devices.image);
  const std::uint64_t bad =
      pieces(view, view.layers()[1]).front().host + 3 * 65536 + 1024;  // guest cluster 3
  const storage::FaultDevice failing(devices.image, {{.begin = bad, .end = bad + 512, .persistent = true}});
  const storage::Retries retried(failing, 3);
  const auto before = devices.image.bytes();
  const auto copied = salvage(retried);
  EXPECT_EQ(devices.image.bytes(), before);
  constexpr std::size_t guest = 3 * 65536 + 1024;
  ASSERT_EQ(copied.layers.size(), 3U);
  for (const auto& layer : copied.layers) {
    EXPECT_EQ(layer.map.bytes(Fate::lost), 512U) << layer.layer.snapshot;
    EXPECT_EQ(layer.map.at(guest).fate, Fate::lost);
    EXPECT_EQ(layer.map.at(guest).begin, guest);
  }
  auto wanted = content(*whole.disk);
  std::fill_n(wanted.begin() + guest, 512, std::byte{0});
  EXPECT_TRUE(content(*copied.disk) == wanted);
  EXPECT_EQ(retried.recovered(), 0U);
  // Shared clusters stay shared: the copy is no longer than the image.
  EXPECT_LE(copied.device->size(), devices.image.size() + 4 * 65536);
}

TEST(Salvage, what_is_read_at_last_is_not_lost) {
  Devices devices(recipe);
  const auto view = must(View::open(devices.image));
  const std::uint64_t bad = pieces(view, view.layers()[0]).front().host + 1024;
  const storage::FaultDevice failing(devices.image, {{.begin = bad, .end = bad + 512}});
  const storage::Retries retried(failing, 1);
  const auto copied = salvage(retried);
  for (const auto& layer : copied.layers) EXPECT_EQ(layer.map.bytes(Fate::lost), 0U);
  EXPECT_EQ(retried.recovered(), 1U);
}

TEST(Salvage, an_earlier_copy_gains_what_was_lost_and_nothing_else_is_read) {
  Devices devices(recipe);
  const auto view = must(View::open(devices.image));
  base::Progress progress;
  const std::uint64_t data = pieces(view, view.layers()[0]).front().host;
  const std::uint64_t bad = data + 1024;  // of guest cluster 0
  storage::MemoryDevice copy;
  ASSERT_TRUE(engine::create_qcow2(copy, nullptr, {.size = view.layers()[0].size}, progress));
  const auto disk = must(engine::Qcow2Disk::open(copy, {.writable = true}));
  const auto salvage_active = [&](const storage::Device& device, const LayerMap* earlier) {
    const auto understood = must(Understood::open(device, {}, progress));
    SalvageOptions options;
    options.earlier = earlier;
    return must(salvage_layer(understood->readable(), understood->best().layers()[0], *disk, nullptr, options,
                              progress));
  };
  const storage::FaultDevice failing(devices.image, {{.begin = bad, .end = bad + 512, .persistent = true}});
  const auto first = salvage_active(failing, nullptr);
  ASSERT_EQ(first.map.bytes(Fate::lost), 512U);
  // Now that sector can be read, and the rest of its cluster can't any more.
  const storage::FaultDevice other(devices.image,
                                   {{.begin = data, .end = bad, .persistent = true},
                                    {.begin = bad + 512, .end = data + 65536, .persistent = true}});
  const auto second = salvage_active(other, &first.map);
  EXPECT_EQ(second.map.bytes(Fate::lost), 0U);
  EXPECT_EQ(other.strikes(), 0U);
  EXPECT_TRUE(content(*disk) == content(*must(engine::Qcow2Disk::open(devices.image, {}))));
  // What is lost still is lost still.
  const auto third = salvage_active(failing, &first.map);
  EXPECT_EQ(third.map.bytes(Fate::lost), 512U);
}

TEST(Salvage, snapshots_say_of_themselves_what_they_said) {
  Devices devices(recipe);
  const auto copied = salvage(devices.image);
  const auto before = must(engine::Qcow2Disk::open(devices.image, {}))->snapshots();
  const auto after = copied.disk->snapshots();
  ASSERT_EQ(after.size(), before.size());
  for (std::size_t i = 0; i < after.size(); ++i) {
    EXPECT_EQ(after[i].id, before[i].id);
    EXPECT_EQ(after[i].name, before[i].name);
    EXPECT_EQ(after[i].date_sec, before[i].date_sec);
    EXPECT_EQ(after[i].vm_clock_nsec, before[i].vm_clock_nsec);
    EXPECT_EQ(after[i].icount, before[i].icount);
    EXPECT_EQ(after[i].vm_state_size, before[i].vm_state_size);
  }
  const auto state = [](const storage::Device& device) {
    const auto view = must(View::open(device));
    std::vector<std::byte> bytes;
    view.visit(view.layers()[1], [&](const Piece& piece) {
      if (piece.begin < view.layers()[1].vm_state) return true;
      std::vector<std::byte> part(static_cast<std::size_t>(piece.length));
      EXPECT_FALSE(view.read(piece, 0, part));
      bytes.insert(bytes.end(), part.begin(), part.end());
      return true;
    });
    return bytes;
  };
  ASSERT_TRUE(copied.disk->flush());
  EXPECT_EQ(state(devices.image).size(), 100U * 1024);
  EXPECT_TRUE(state(*copied.device) == state(devices.image));
}

}  // namespace
}  // namespace cowvet::repair
