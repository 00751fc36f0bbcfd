// The LUKS version 1 header inside the region that the encryption extension names, as far as a check without the key
// needs it. Promises: bytes to values, no judgement, no cryptography.
#pragma once
#include <array>
#include <cstdint>
#include <optional>

#include "base/bytes.hpp"
#include "format/record.hpp"

namespace cowvet::format {

struct LuksHeader {
  std::array<std::byte, 6> magic{};
  std::uint16_t version = 1;
  std::array<std::byte, 32> cipher_name{};
  std::array<std::byte, 32> cipher_mode{};
  std::array<std::byte, 32> hash{};
  std::uint32_t payload_offset = 0;
  std::uint32_t key_bytes = 0;
  std::array<std::byte, 20> digest{};
  std::array<std::byte, 32> salt{};
  std::uint32_t iterations = 0;
  std::array<std::byte, 40> uuid{};
};
template <>
inline constexpr auto layout<LuksHeader> =
    record("luks", "LUKS1 on-disk format", field<0, &LuksHeader::magic>("magic", "4C 55 4B 53 BA BE"),
           field<6, &LuksHeader::version>("version", "1"),
           field<8, &LuksHeader::cipher_name>("cipher_name", "aes, ..."),
           field<40, &LuksHeader::cipher_mode>("cipher_mode", "mode-ivgen[:hash]"),
           field<72, &LuksHeader::hash>("hash", "sha256, ..."),
           field<104, &LuksHeader::payload_offset>("payload_offset", "512-byte sectors from the LUKS header"),
           field<108, &LuksHeader::key_bytes>("key_bytes", "length of the master key"),
           field<112, &LuksHeader::digest>("digest", "of the master key"),
           field<132, &LuksHeader::salt>("salt", "of the digest"),
           field<164, &LuksHeader::iterations>("iterations", "of the digest, above 0"),
           field<168, &LuksHeader::uuid>("uuid", "terminated text"));
static_assert(disk_size<LuksHeader> == 208);

struct LuksKeySlot {
  std::uint32_t state = 0;
  std::uint32_t iterations = 0;
  std::array<std::byte, 32> salt{};
  std::uint32_t key_offset = 0;
  std::uint32_t stripes = 0;
};
template <>
inline constexpr auto layout<LuksKeySlot> =
    record("luks_slot", "LUKS1 on-disk format",
           field<0, &LuksKeySlot::state>("state", "00AC71F3 in use, 0000DEAD free"),
           field<4, &LuksKeySlot::iterations>("iterations", "above 0 when in use"),
           field<8, &LuksKeySlot::salt>("salt", ""),
           field<40, &LuksKeySlot::key_offset>("key_offset", "512-byte sectors from the LUKS header"),
           field<44, &LuksKeySlot::stripes>("stripes", "4000"));
static_assert(disk_size<LuksKeySlot> == 48);

inline constexpr std::size_t luks_slots = 8;
inline constexpr std::size_t luks_header_size = disk_size<LuksHeader> + luks_slots * disk_size<LuksKeySlot>;
static_assert(luks_header_size == 592);
inline constexpr std::uint32_t luks_slot_active = 0x00AC71F3, luks_slot_free = 0x0000DEAD,
                               luks_stripes = 4000;
inline constexpr std::array<std::byte, 6> luks_magic{std::byte{0x4c}, std::byte{0x55}, std::byte{0x4b},
                                                     std::byte{0x53}, std::byte{0xba}, std::byte{0xbe}};

struct Luks {
  LuksHeader header;
  std::array<LuksKeySlot, luks_slots> slots;
};

// Nothing when there are fewer than 592 bytes.
[[nodiscard]] std::optional<Luks> decode_luks(base::ConstBytes region);

}  // namespace cowvet::format
