// A slot's record says whether it is in use in its first four bytes, which lie in one sector: they are
// written last when a slot is filled, and after its key material was overwritten when it is emptied.
#include "engine/key_slots.hpp"

#include <algorithm>

#include <fmt/format.h>

#include "base/text.hpp"

namespace cowvet::engine {

namespace {

using base::ErrorKind;

// More than any LUKS1 header takes: eight slots of 4000 stripes of the longest key are 2 MiB.
constexpr std::uint64_t longest_luks_header = 16 << 20;
using format::limits::sector;

base::Result<format::EncryptionExtension> luks_place(const HeaderArea& header) {
  const auto* data = header.extension(format::ExtensionType::encryption);
  const auto place = data == nullptr ? std::nullopt : format::exact<format::EncryptionExtension>(*data);
  if (place && place->length <= longest_luks_header) return *place;
  return base::fail(ErrorKind::usage, "the header does not say where the LUKS header lies: see cowvet check");
}

std::uint64_t record_offset(std::uint64_t slot) {
  return format::disk_size<format::LuksHeader> + slot * format::disk_size<format::LuksKeySlot>;
}

using base::refuse;

}  // namespace

base::Result<std::vector<std::byte>> read_luks(const HeaderArea& header, const storage::Device& device) {
  const auto place = luks_place(header);
  if (!place) return std::unexpected(place.error());
  std::vector<std::byte> bytes(static_cast<std::size_t>(place->length));
  if (auto read = complete(device.read(place->offset.raw(), bytes), "LUKS header"); !read)
    return std::unexpected(read.error());
  return bytes;
}

base::Result<void> KeySlots::load() {
  const auto method = static_cast<format::CryptMethod>(image_.fields().v2.crypt_method);
  if (method == format::CryptMethod::none) return refuse("the image is not encrypted: it has no passwords");
  if (method != format::CryptMethod::luks)
    return refuse(
        "the image is encrypted by the old AES method, whose password can't be changed: convert it");
  auto bytes = read_luks(image_.header, image_.file.device());
  if (!bytes) return std::unexpected(bytes.error());
  auto luks = parse_luks(*bytes);
  if (!luks) return std::unexpected(luks.error());
  place_ = luks_place(image_.header)->offset.raw();
  header_ = std::move(*bytes);
  luks_ = std::move(*luks);
  return {};
}

bool KeySlots::active(std::uint64_t slot) const {
  return luks_->records.slots[static_cast<std::size_t>(slot)].state == format::luks_slot_active;
}

std::size_t KeySlots::active_slots() const {
  std::size_t count = 0;
  for (std::uint64_t i = 0; i < format::luks_slots; ++i) count += active(i) ? 1U : 0U;
  return count;
}

base::Result<std::uint64_t> KeySlots::material(std::uint64_t slot) const {
  const auto& slots = luks_->records.slots;
  const std::uint64_t length = std::uint64_t{luks_->records.header.key_bytes} * format::luks_stripes;
  const auto begin_of = [&](std::uint64_t i) {
    return slots[static_cast<std::size_t>(i)].key_offset * sector;
  };
  const std::uint64_t begin = begin_of(slot);
  bool own = begin >= format::luks_header_size && begin <= header_.size() && length <= header_.size() - begin;
  for (std::uint64_t i = 0; i < format::luks_slots; ++i)
    if (i != slot && begin < begin_of(i) + length && begin_of(i) < begin + length) own = false;
  if (own && slots[static_cast<std::size_t>(slot)].stripes == format::luks_stripes) return begin;
  return base::fail(ErrorKind::usage,
                    fmt::format("key slot {} has no place of its own: see cowvet check", slot));
}

base::Result<void> KeySlots::store(std::uint64_t offset, base::ConstBytes bytes) {
  if (auto written = image_.file.write(place_ + offset, bytes); !written) return written;
  std::ranges::copy(bytes, header_.begin() + static_cast<std::ptrdiff_t>(offset));
  return image_.file.flush();
}

base::Result<void> KeySlots::wipe(std::uint64_t slot) {
  const auto place = material(slot);
  if (!place) return std::unexpected(place.error());
  Secret noise(std::size_t{luks_->records.header.key_bytes} * format::luks_stripes);
  if (auto filled = fill_random(noise.bytes()); !filled) return filled;
  if (auto done = store(*place, noise.bytes()); !done) return done;
  auto& record = luks_->records.slots[static_cast<std::size_t>(slot)];
  record = {.state = format::luks_slot_free, .key_offset = record.key_offset, .stripes = record.stripes};
  return store(record_offset(slot), format::encode(record));
}

base::Result<void> KeySlots::add(const NewKey& key) {
  if (auto loaded = load(); !loaded) return loaded;
  std::uint64_t slot = 0;
  if (key.slot) {
    slot = *key.slot;
    if (slot >= format::luks_slots)
      return refuse(fmt::format("there is no key slot {}: they are numbered from 0 to 7", slot));
    if (active(slot) && !key.force)
      return refuse(fmt::format("key slot {} is in use: erase it first, or choose another one", slot));
  } else {
    while (slot < format::luks_slots && active(slot)) ++slot;
    if (slot == format::luks_slots) return refuse("all key slots are in use: erase one first");
  }
  const auto place = material(slot);
  if (!place) return std::unexpected(place.error());
  const auto master = unlock_luks(*luks_, header_, std::as_bytes(std::span(key.unlocked_by)));
  if (!master) return std::unexpected(master.error());
  const auto iterations =
      iterations_taking(luks_->hash, master->bytes().size(), static_cast<double>(key.iter_time_ms));
  if (!iterations) return std::unexpected(iterations.error());
  auto& record = luks_->records.slots[static_cast<std::size_t>(slot)];
  auto filled = record;
  filled.state = format::luks_slot_free;
  filled.iterations = *iterations;
  if (auto random = fill_random(filled.salt); !random) return random;
  const auto locked = lock_slot(*luks_, master->bytes(), key.secret, filled);
  if (!locked) return std::unexpected(locked.error());

  if (active(slot))
    if (auto wiped = wipe(slot); !wiped) return wiped;
  if (auto done = store(*place, locked->bytes()); !done) return done;
  if (auto done = store(record_offset(slot), format::encode(filled)); !done) return done;
  filled.state = format::luks_slot_active;
  record = filled;
  const auto bytes = format::encode(filled);
  return store(record_offset(slot), base::ConstBytes(bytes).first(sizeof filled.state));
}

base::Result<std::vector<std::uint64_t>> KeySlots::chosen(const OldKeys& keys) const {
  const auto opens = [&](std::uint64_t slot) -> base::Result<bool> {
    if (!active(slot)) return false;
    const auto key =
        unlock_slot(*luks_, header_, static_cast<std::size_t>(slot), std::as_bytes(std::span(*keys.secret)));
    if (!key) return std::unexpected(key.error());
    return key->has_value();
  };
  std::vector<std::uint64_t> slots;
  if (keys.slot) {
    const std::uint64_t slot = *keys.slot;
    const auto refuse_slot = [&](std::string_view why) {
      return base::fail(ErrorKind::usage, fmt::format("key slot {} {}", slot, why));
    };
    if (slot >= format::luks_slots) return refuse_slot("does not exist: they are numbered from 0 to 7");
    if (keys.secret) {
      const auto opened = opens(slot);
      if (!opened) return std::unexpected(opened.error());
      if (!*opened) return refuse_slot("does not open with the old password: check both");
    }
    if (!active(slot) && !keys.force) return refuse_slot("is not in use: there is nothing to erase");
    slots.push_back(slot);
  } else {
    for (std::uint64_t i = 0; i < format::luks_slots; ++i) {
      const auto opened = opens(i);
      if (!opened) return std::unexpected(opened.error());
      if (*opened) slots.push_back(i);
    }
    if (slots.empty())
      return base::fail(ErrorKind::usage, "no key slot opens with the old password: check it");
  }
  return slots;
}

base::Result<void> KeySlots::erase(const OldKeys& keys) {
  if (auto loaded = load(); !loaded) return loaded;
  if (!keys.slot && !keys.secret) return refuse("say which key slots: by number, or by the old password");
  const auto slots = chosen(keys);
  if (!slots) return std::unexpected(slots.error());
  const auto used = static_cast<std::size_t>(
      std::ranges::count_if(*slots, [&](std::uint64_t slot) { return active(slot); }));
  if (used != 0 && used == active_slots() && !keys.force)
    return refuse("no password would be left, and all data would be lost for good: add another one first");
  for (const auto slot : *slots)
    if (auto wiped = wipe(slot); !wiped) return wiped;
  return {};
}

}  // namespace cowvet::engine
