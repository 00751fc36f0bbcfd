#include "engine/luks.hpp"

#include <algorithm>

#include <fmt/format.h>

#include "base/text.hpp"
#include "format/extensions.hpp"
#include "format/geometry.hpp"

namespace cowvet::engine {

namespace {

using format::limits::sector;
constexpr std::size_t most_key_bytes = 64;

std::unexpected<base::Error> bad_header(std::string_view what) {
  return base::fail(base::ErrorKind::usage, fmt::format("the LUKS header {}: see cowvet check", what));
}

}  // namespace

base::Result<ParsedLuks> parse_luks(base::ConstBytes header) {
  const auto records = format::decode_luks(header);
  if (!records || records->header.magic != format::luks_magic) return bad_header("is not there");
  const auto& h = records->header;
  if (h.version != 1)
    return base::fail(base::ErrorKind::usage,
                      fmt::format("LUKS version {} is not supported: only version 1", h.version));
  ParsedLuks luks{{.cipher = std::string(format::until_nul(h.cipher_name)),
                   .mode_name = std::string(format::until_nul(h.cipher_mode)),
                   .ivgen = {},
                   .ivgen_hash = {},
                   .hash = std::string(format::until_nul(h.hash))},
                  *records};
  if (const auto dash = luks.mode_name.find('-'); dash != std::string::npos) {
    luks.ivgen = luks.mode_name.substr(dash + 1);
    luks.mode_name.resize(dash);
  } else if (luks.mode_name == "ecb") {
    luks.ivgen = "plain64";  // there is no vector, so nobody names its generator
  }
  if (const auto colon = luks.ivgen.find(':'); colon != std::string::npos) {
    luks.ivgen_hash = luks.ivgen.substr(colon + 1);
    luks.ivgen.resize(colon);
  }
  if (h.key_bytes == 0 || h.key_bytes > most_key_bytes)
    return bad_header(fmt::format("names a master key of {} bytes", h.key_bytes));
  if (auto known = hash_size(luks.hash); !known) return std::unexpected(known.error());
  if (auto known = SectorCipher::supported(luks.mode(), h.key_bytes); !known)
    return std::unexpected(known.error());
  return luks;
}

base::Result<std::optional<Secret>> unlock_slot(const ParsedLuks& luks, base::ConstBytes header,
                                                std::size_t slot, base::ConstBytes password) {
  const auto& h = luks.records.header;
  const auto& record = luks.records.slots[slot];
  const std::uint64_t split_size = std::uint64_t{h.key_bytes} * format::luks_stripes;
  const std::uint64_t offset = record.key_offset * sector;
  if (record.stripes != format::luks_stripes || offset > header.size() || split_size > header.size() - offset)
    return bad_header("has a key slot that lies outside it");
  Secret slot_key(h.key_bytes);
  if (auto made = pbkdf2(luks.hash, password, record.salt, record.iterations, slot_key.bytes()); !made)
    return std::unexpected(made.error());
  Secret split{header.subspan(static_cast<std::size_t>(offset), static_cast<std::size_t>(split_size))};
  const auto cipher = SectorCipher::make(luks.mode(), slot_key.bytes());
  if (!cipher) return std::unexpected(cipher.error());
  if (auto done = cipher->run(SectorCipher::Direction::decrypt, 0, split.bytes()); !done)
    return std::unexpected(done.error());
  auto key = merge_key(luks.hash, split.bytes(), h.key_bytes);
  if (!key) return std::unexpected(key.error());
  Secret proof(h.digest.size());
  if (auto made = pbkdf2(luks.hash, key->bytes(), h.salt, h.iterations, proof.bytes()); !made)
    return std::unexpected(made.error());
  if (!std::ranges::equal(proof.bytes(), h.digest)) return std::optional<Secret>{};
  return std::optional<Secret>{std::move(*key)};
}

base::Result<Secret> unlock_luks(const ParsedLuks& luks, base::ConstBytes header, base::ConstBytes password) {
  bool any = false;
  for (std::size_t i = 0; i < luks.records.slots.size(); ++i) {
    if (luks.records.slots[i].state != format::luks_slot_active) continue;
    any = true;
    auto key = unlock_slot(luks, header, i, password);
    if (!key) return std::unexpected(key.error());
    if (*key) return std::move(**key);
  }
  return base::fail(base::ErrorKind::usage,
                    any ? "no key slot opens with this password: check it"
                        : "no key slot is in use: the data can't be decrypted any more");
}

}  // namespace cowvet::engine
