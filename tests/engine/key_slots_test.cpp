// Passwords of LUKS images: added and erased so that a crash at any moment leaves one that opens the image, and a
// damaged header never makes one slot overwrite another.
#include "engine/key_slots.hpp"

#include <algorithm>
#include <functional>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "engine/create.hpp"
#include "storage/recorder.hpp"
#include "tests/engine/images.hpp"
#include "tests/engine/replay.hpp"

namespace cowvet::engine {
namespace {

using namespace testing_images;

Bytes encrypted(format::CryptMethod method = format::CryptMethod::luks) {
  storage::MemoryDevice device{Bytes{}};
  CreateOptions options{.size = 64 << 10, .cluster_size = 4096};
  options.encrypt =
      EncryptOptions{.method = method, .secret = "first", .cipher = "aes-128", .iter_time_ms = 1};
  base::Progress progress;
  must(create_qcow2(device, nullptr, options, progress));
  return device.bytes();
}

std::unique_ptr<Qcow2Disk> writable(storage::Device& device) {
  return must(Qcow2Disk::open(device, {.writable = true}));
}

// Whether the password opens the image; the header is read as anybody reads it.
bool opens(const Bytes& image, std::string_view password) {
  storage::MemoryDevice device(image);
  Medium medium(device);
  const auto header = must(HeaderArea::open(medium));
  return open_luks(must(read_luks(header, device)), password).has_value();
}

NewKey added(std::string secret, std::optional<std::uint64_t> slot = {}, bool force = false) {
  return {
      .secret = std::move(secret), .unlocked_by = "first", .slot = slot, .iter_time_ms = 1, .force = force};
}

TEST(KeySlots, AreFilledFoundAndErased) {
  storage::MemoryDevice device(encrypted());
  const auto disk = writable(device);
  must(disk->add_key(added("second")));
  must(disk->add_key(added("third", 6)));  // its record lies across the end of a sector
  for (const auto* password : {"first", "second", "third"}) EXPECT_TRUE(opens(device.bytes(), password));
  EXPECT_FALSE(disk->add_key(added("other", 6)));
  EXPECT_FALSE(disk->add_key(added("other", 8)));
  EXPECT_FALSE(disk->add_key({.secret = "other", .unlocked_by = "wrong", .iter_time_ms = 1}));
  EXPECT_FALSE(opens(device.bytes(), "other"));
  EXPECT_FALSE(disk->erase_keys({.secret = "other"}));
  EXPECT_FALSE(disk->erase_keys({.slot = 6, .secret = "second"}));
  EXPECT_FALSE(disk->erase_keys({.slot = 4}));
  EXPECT_FALSE(disk->erase_keys({.slot = 8}));
  EXPECT_FALSE(disk->erase_keys({}));
  must(disk->erase_keys({.slot = 6, .secret = "third"}));
  must(disk->erase_keys({.secret = "second"}));
  EXPECT_FALSE(opens(device.bytes(), "second"));
  EXPECT_FALSE(opens(device.bytes(), "third"));
  EXPECT_FALSE(disk->erase_keys({.slot = 0}));
  EXPECT_FALSE(disk->erase_keys({.secret = "first"}));
  EXPECT_TRUE(opens(device.bytes(), "first"));
  must(disk->erase_keys({.slot = 0, .force = true}));
  EXPECT_FALSE(opens(device.bytes(), "first"));
}

TEST(KeySlots, ThatAreAllInUseTakeNoMore) {
  storage::MemoryDevice device(encrypted());
  const auto disk = writable(device);
  for (int i = 1; i < 8; ++i) must(disk->add_key(added(fmt::format("{}", i))));
  EXPECT_FALSE(disk->add_key(added("8")));
  must(disk->add_key(added("8", 3, true)));
  EXPECT_TRUE(opens(device.bytes(), "8"));
  EXPECT_FALSE(opens(device.bytes(), "3"));
}

TEST(KeySlots, DontExistInOtherImages) {
  storage::MemoryDevice plain(build("image size=1M").file.bytes());
  EXPECT_FALSE(writable(plain)->add_key(added("second")));
  storage::MemoryDevice aes(encrypted(format::CryptMethod::aes));
  EXPECT_FALSE(writable(aes)->add_key(added("second")));
}

TEST(KeySlots, WithoutAPlaceOfTheirOwnAreLeftAlone) {
  const auto image = encrypted();
  const auto luks = [&] {
    storage::MemoryDevice device(image);
    Medium medium(device);
    const auto header = must(HeaderArea::open(medium));
    return format::exact<format::EncryptionExtension>(*header.extension(format::ExtensionType::encryption))
        ->offset.raw();
  }();
  const auto with_offset = [&](std::size_t slot, std::uint32_t sectors) {
    auto bytes = image;
    auto record = *format::decode_luks(base::ConstBytes(bytes).subspan(static_cast<std::size_t>(luks)));
    record.slots[slot].key_offset = sectors;
    std::ranges::copy(format::encode(record.slots[slot]),
                      bytes.begin() + static_cast<std::ptrdiff_t>(luks + 208 + 48 * slot));
    return bytes;
  };
  // On the first slot's material, on the header itself, behind the end.
  for (const std::uint32_t sectors : {10U, 0U, 0xffffffU}) {
    storage::MemoryDevice device(with_offset(3, sectors));
    const auto before = device.bytes();
    EXPECT_FALSE(writable(device)->add_key(added("second", 3))) << sectors;
    EXPECT_FALSE(writable(device)->erase_keys({.slot = 3, .force = true})) << sectors;
    EXPECT_EQ(device.bytes(), before) << sectors;
  }
}

// Every prefix of the writes, with each unflushed one missing, or alone.
void each_crash(const Bytes& start, const std::function<void(Qcow2Disk&)>& work,
                const std::function<void(const Bytes&, const std::string&)>& judge) {
  storage::MemoryDevice device(start);
  storage::Recorder recorder(device);
  {
    const auto disk = writable(recorder);
    work(*disk);
  }
  const auto events = recorder.events();
  for (std::size_t end = 0; end <= events.size(); ++end) {
    const auto prefix = std::span(events).first(end);
    judge(replay(start, prefix, [](std::size_t) { return true; }), fmt::format("after {}", end));
    for (std::size_t lost = end; lost > 0 && events[lost - 1].kind != storage::Event::Kind::flush; --lost)
      judge(replay(start, prefix, [&](std::size_t i) { return i != lost - 1; }),
            fmt::format("after {} without {}", end, lost - 1));
  }
}

TEST(KeySlots, AreAddedWithoutLosingOthersInACrash) {
  const auto start = encrypted();
  int both = 0;
  each_crash(
      start, [](Qcow2Disk& d) { must(d.add_key(added("second", 6))); },
      [&](const Bytes& image, const std::string& when) {
        EXPECT_TRUE(opens(image, "first")) << when;
        both += opens(image, "second") ? 1 : 0;
        const storage::MemoryDevice device(image);
        EXPECT_EQ(findings(device), "") << when;
      });
  EXPECT_GT(both, 0);
}

TEST(KeySlots, AreErasedWithoutLosingOthersInACrash) {
  storage::MemoryDevice two(encrypted());
  must(writable(two)->add_key(added("second", 6)));
  each_crash(
      two.bytes(), [](Qcow2Disk& d) { must(d.erase_keys({.secret = "first"})); },
      [&](const Bytes& image, const std::string& when) {
        EXPECT_TRUE(opens(image, "second")) << when;
        const storage::MemoryDevice device(image);
        EXPECT_EQ(findings(device), "") << when;
      });
}

}  // namespace
}  // namespace cowvet::engine
