// Making a LUKS1 header: random master key, its proof, and one key slot whose password takes as long to try
// as was asked.
#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>
#include <limits>

#include <fmt/format.h>

#include "base/checked.hpp"
#include "base/text.hpp"
#include "engine/luks.hpp"
#include "format/geometry.hpp"

namespace cowvet::engine {

namespace {

using format::limits::sector;
constexpr std::uint64_t slot_unit =
    8;  // sectors; slots begin at multiples of it, the first behind the header
constexpr std::uint64_t fewest_iterations = 1000;

// The options, completed and checked.
struct Plan {
  LuksText text;
  std::size_t key_bytes = 0;
  std::uint64_t slot_sectors = 0;
  [[nodiscard]] std::uint64_t payload_sectors() const {
    return slot_unit + format::luks_slots * slot_sectors;
  }
};

base::Result<Plan> plan(const EncryptOptions& options) {
  unsigned bits = 0;
  for (const unsigned possible : {128U, 192U, 256U})
    if (options.cipher == fmt::format("aes-{}", possible)) bits = possible;
  if (bits == 0)
    return base::fail(
        base::ErrorKind::usage,
        fmt::format("the cipher '{}' is not supported: cowvet knows aes-128, aes-192 and aes-256",
                    base::escape(options.cipher)));
  Plan plan{.text = {.cipher = "aes",
                     .mode_name = options.mode,
                     .ivgen = options.ivgen,
                     .ivgen_hash = options.ivgen_hash,
                     .hash = options.hash}};
  if (plan.text.ivgen == "essiv" && plan.text.ivgen_hash.empty()) plan.text.ivgen_hash = "sha256";
  plan.key_bytes = key_size(bits, options.mode);
  // The split key would end within a sector: QEMU aborts when it meets such an image.
  if (plan.key_bytes * format::luks_stripes % sector != 0)
    return base::fail(
        base::ErrorKind::usage,
        fmt::format("aes-192 in {} mode can't be read by other programs: use xts, or another key length",
                    base::escape(options.mode)));
  plan.slot_sectors =
      *base::round_up(base::divide_up(plan.key_bytes * format::luks_stripes, sector), slot_unit);
  if (auto known = hash_size(options.hash); !known) return std::unexpected(known.error());
  if (auto known = SectorCipher::supported(plan.text.mode(), plan.key_bytes); !known)
    return std::unexpected(known.error());
  return plan;
}

template <std::size_t N>
void put(std::array<std::byte, N>& field, std::string_view text) {
  std::ranges::copy(std::as_bytes(std::span(text.substr(0, N - 1))), field.begin());
}

std::uint32_t bounded(double iterations) {
  constexpr double most = std::numeric_limits<std::int32_t>::max();
  return static_cast<std::uint32_t>(std::clamp(iterations, double{fewest_iterations}, most));
}

// A random UUID (version 4) as text.
std::string uuid_text(std::array<std::byte, 16> bytes) {
  bytes[6] = (bytes[6] & std::byte{0x0f}) | std::byte{0x40};
  bytes[8] = (bytes[8] & std::byte{0x3f}) | std::byte{0x80};
  std::string text;
  for (std::size_t i = 0; i < bytes.size(); ++i)
    text += fmt::format("{}{:02x}", i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "",
                        std::to_integer<unsigned>(bytes[i]));
  return text;
}

}  // namespace

// Measured over a tenth of a second.
base::Result<std::uint32_t> iterations_taking(std::string_view hash, std::size_t key_bytes,
                                              double milliseconds) {
  using Clock = std::chrono::steady_clock;
  Secret key(key_bytes);
  for (std::uint64_t iterations = fewest_iterations;; iterations *= 2) {
    const auto begin = Clock::now();
    if (auto made = pbkdf2(hash, {}, key.bytes(), iterations, key.bytes()); !made)
      return std::unexpected(made.error());
    const std::chrono::duration<double, std::milli> taken = Clock::now() - begin;
    if (taken.count() >= 100) return bounded(static_cast<double>(iterations) / taken.count() * milliseconds);
  }
}

base::Result<Secret> lock_slot(const LuksText& text, base::ConstBytes key, std::string_view password,
                               const format::LuksKeySlot& slot) {
  Secret slot_key(key.size());
  if (auto made =
          pbkdf2(text.hash, std::as_bytes(std::span(password)), slot.salt, slot.iterations, slot_key.bytes());
      !made)
    return std::unexpected(made.error());
  auto split = split_key(text.hash, key);
  if (!split) return split;
  const auto cipher = SectorCipher::make(text.mode(), slot_key.bytes());
  if (!cipher) return std::unexpected(cipher.error());
  if (auto done = cipher->run(SectorCipher::Direction::encrypt, 0, split->bytes()); !done)
    return std::unexpected(done.error());
  return split;
}

base::Result<std::uint64_t> luks_header_size(const EncryptOptions& options) {
  const auto planned = plan(options);
  if (!planned) return std::unexpected(planned.error());
  return planned->payload_sectors() * sector;
}

base::Result<MadeLuks> make_luks_header(const EncryptOptions& options) {
  const auto planned = plan(options);
  if (!planned) return std::unexpected(planned.error());
  const auto& text = planned->text;
  const auto iterations =
      iterations_taking(text.hash, planned->key_bytes, static_cast<double>(options.iter_time_ms));
  if (!iterations) return std::unexpected(iterations.error());

  format::LuksHeader header{.magic = format::luks_magic};
  put(header.cipher_name, text.cipher);
  put(header.cipher_mode, fmt::format("{}-{}{}{}", text.mode_name, text.ivgen,
                                      text.ivgen_hash.empty() ? "" : ":", text.ivgen_hash));
  put(header.hash, text.hash);
  header.payload_offset = static_cast<std::uint32_t>(planned->payload_sectors());
  header.key_bytes = static_cast<std::uint32_t>(planned->key_bytes);
  header.iterations = bounded(*iterations / 8.0);

  std::array<format::LuksKeySlot, format::luks_slots> slots;
  for (std::size_t i = 0; i < slots.size(); ++i)
    slots[i] = {.state = format::luks_slot_free,
                .key_offset = static_cast<std::uint32_t>(slot_unit + i * planned->slot_sectors),
                .stripes = format::luks_stripes};
  slots[0].iterations = *iterations;

  MadeLuks made{text, std::vector<std::byte>(static_cast<std::size_t>(planned->payload_sectors() * sector)),
                Secret(planned->key_bytes)};
  std::array<std::byte, 16> uuid;
  for (const base::MutableBytes random : {made.key.bytes(), base::MutableBytes(header.salt),
                                          base::MutableBytes(slots[0].salt), base::MutableBytes(uuid)})
    if (auto filled = fill_random(random); !filled) return std::unexpected(filled.error());
  put(header.uuid, uuid_text(uuid));
  if (auto proof = pbkdf2(text.hash, made.key.bytes(), header.salt, header.iterations, header.digest); !proof)
    return std::unexpected(proof.error());
  const auto material = lock_slot(text, made.key.bytes(), options.secret, slots[0]);
  if (!material) return std::unexpected(material.error());
  std::ranges::copy(material->bytes(),
                    made.header.begin() + static_cast<std::ptrdiff_t>(slots[0].key_offset * sector));
  slots[0].state = format::luks_slot_active;

  auto at = std::ranges::copy(format::encode(header), made.header.begin()).out;
  for (const auto& slot : slots) at = std::ranges::copy(format::encode(slot), at).out;
  return made;
}

}  // namespace cowvet::engine
