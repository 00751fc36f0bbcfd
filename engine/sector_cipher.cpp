// AES over sectors. A call copies the prepared contexts, so that several threads can use one cipher.
#include <algorithm>
#include <array>
#include <string>

#include <fmt/format.h>
#include <openssl/evp.h>

#include "base/text.hpp"
#include "engine/crypto.hpp"

namespace cowvet::engine {

namespace {

constexpr std::size_t block = 16, sector_size = 512;
using Block = std::array<std::byte, block>;
using Direction = SectorCipher::Direction;
using Context = std::unique_ptr<EVP_CIPHER_CTX, decltype(&EVP_CIPHER_CTX_free)>;

std::unexpected<base::Error> failed() {
  return base::fail(base::ErrorKind::limit, "libcrypto failed when encrypting or decrypting");
}
std::unexpected<base::Error> refused(std::string_view what, std::string_view name, std::string_view known) {
  return base::fail(base::ErrorKind::usage, fmt::format("the {} '{}' is not supported: cowvet knows {}", what,
                                                        base::escape(name), known));
}

Context prepare(unsigned bits, std::string_view mode, base::ConstBytes key, Direction direction) {
  const std::string name = fmt::format("AES-{}-{}", bits, mode);
  const std::unique_ptr<EVP_CIPHER, decltype(&EVP_CIPHER_free)> cipher(
      EVP_CIPHER_fetch(nullptr, name.c_str(), nullptr), EVP_CIPHER_free);
  Context context(cipher ? EVP_CIPHER_CTX_new() : nullptr, EVP_CIPHER_CTX_free);
  if (context && (EVP_CipherInit_ex(context.get(), cipher.get(), nullptr,
                                    reinterpret_cast<const unsigned char*>(key.data()), nullptr,
                                    static_cast<int>(direction)) != 1 ||
                  EVP_CIPHER_CTX_set_padding(context.get(), 0) != 1))
    context.reset();
  return context;
}

Context copy(const Context& prepared) {
  Context context(EVP_CIPHER_CTX_new(), EVP_CIPHER_CTX_free);
  if (context && EVP_CIPHER_CTX_copy(context.get(), prepared.get()) != 1) context.reset();
  return context;
}

// One message: the context starts anew with `iv` (null: the mode has none).
bool pass(EVP_CIPHER_CTX* context, const Block* iv, base::MutableBytes bytes) {
  auto* data = reinterpret_cast<unsigned char*>(bytes.data());
  const auto* start = iv == nullptr ? nullptr : reinterpret_cast<const unsigned char*>(iv->data());
  int length = 0;
  return EVP_CipherInit_ex(context, nullptr, nullptr, nullptr, start, -1) == 1 &&
         EVP_CipherUpdate(context, data, &length, data, static_cast<int>(bytes.size())) == 1 &&
         static_cast<std::size_t>(length) == bytes.size();
}

// XTS put together from single blocks, for the key length that libcrypto has no XTS for: each block is
// whitened with the tweak before and after; from block to block the tweak doubles in GF(2^128).
bool pass_xts(EVP_CIPHER_CTX* data_context, EVP_CIPHER_CTX* tweak_context, Block tweak,
              base::MutableBytes bytes) {
  if (!pass(tweak_context, nullptr, tweak)) return false;
  std::array<std::byte, sector_size> tweaks;
  for (std::size_t at = 0; at < bytes.size(); at += block) {
    std::ranges::copy(tweak, tweaks.begin() + static_cast<std::ptrdiff_t>(at));
    auto carry = std::byte{0};
    for (auto& b : tweak) {
      const auto high = b >> 7;
      b = b << 1 | carry;
      carry = high;
    }
    if (carry != std::byte{0}) tweak[0] ^= std::byte{0x87};
  }
  const auto whiten = [&] {
    for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] ^= tweaks[i];
  };
  whiten();
  if (!pass(data_context, nullptr, bytes)) return false;
  whiten();
  return true;
}

}  // namespace

struct SectorCipher::Keys {
  Context encrypt{nullptr, EVP_CIPHER_CTX_free}, decrypt{nullptr, EVP_CIPHER_CTX_free};
  Context tweak{nullptr, EVP_CIPHER_CTX_free};  // of XTS put together here
  Context essiv{nullptr, EVP_CIPHER_CTX_free};  // turns sector numbers into vectors
  bool has_iv = true;
  std::uint64_t sector_mask = UINT64_MAX;
};

SectorCipher::SectorCipher(std::unique_ptr<const Keys> keys) : keys_(std::move(keys)) {}
SectorCipher::SectorCipher(SectorCipher&&) noexcept = default;
SectorCipher::~SectorCipher() = default;

std::size_t key_size(unsigned bits, std::string_view mode) { return bits / 8 * (mode == "xts" ? 2 : 1); }

base::Result<SectorCipher> SectorCipher::make(const SectorMode& mode, base::ConstBytes key) {
  if (mode.cipher != "aes") return refused("cipher", mode.cipher, "aes");
  if (mode.mode != "xts" && mode.mode != "cbc" && mode.mode != "ctr" && mode.mode != "ecb")
    return refused("cipher mode", mode.mode, "xts, cbc, ctr and ecb");
  unsigned bits = 0;
  for (const unsigned possible : {128U, 192U, 256U})
    if (key.size() == key_size(possible, mode.mode)) bits = possible;
  if (bits == 0)
    return base::fail(base::ErrorKind::usage, fmt::format("a key of {} bytes does not go with aes in {} mode",
                                                          key.size(), mode.mode));
  auto keys = std::make_unique<Keys>();
  const bool own_xts = mode.mode == "xts" && bits == 192;
  const auto data_key = own_xts ? key.first(key.size() / 2) : key;
  const std::string_view data_mode = own_xts ? "ecb" : mode.mode;
  keys->encrypt = prepare(bits, data_mode, data_key, Direction::encrypt);
  keys->decrypt = prepare(bits, data_mode, data_key, Direction::decrypt);
  if (own_xts) keys->tweak = prepare(bits, "ecb", key.subspan(key.size() / 2), Direction::encrypt);
  keys->has_iv = mode.mode != "ecb";
  if (!keys->encrypt || !keys->decrypt || (own_xts && !keys->tweak)) return failed();

  if (mode.ivgen == "plain") {
    keys->sector_mask = UINT32_MAX;
  } else if (mode.ivgen == "essiv") {
    const std::array<base::ConstBytes, 1> parts{key};
    auto hashed = digest(mode.ivgen_hash, parts);
    if (!hashed) return std::unexpected(hashed.error());
    const Secret iv_key{base::ConstBytes(*hashed)};
    const auto iv_bits = static_cast<unsigned>(hashed->size()) * 8;
    if (iv_bits != 128 && iv_bits != 192 && iv_bits != 256)
      return base::fail(base::ErrorKind::usage,
                        fmt::format("essiv can't use the hash '{}': it gives {} bits, which is no key of aes",
                                    mode.ivgen_hash, iv_bits));
    keys->essiv = prepare(iv_bits, "ecb", iv_key.bytes(), Direction::encrypt);
    if (!keys->essiv) return failed();
  } else if (mode.ivgen != "plain64") {
    return refused("vector generator", mode.ivgen, "plain, plain64 and essiv");
  }
  return SectorCipher(std::move(keys));
}

base::Result<void> SectorCipher::supported(const SectorMode& mode, std::size_t key_bytes) {
  Secret key(key_bytes);
  for (std::size_t i = 0; i < key_bytes; ++i)
    key.bytes()[i] = static_cast<std::byte>(i);  // xts refuses equal halves
  if (auto cipher = make(mode, key.bytes()); !cipher) return std::unexpected(cipher.error());
  return {};
}

base::Result<void> SectorCipher::run(Direction direction, std::uint64_t sector,
                                     base::MutableBytes bytes) const {
  const auto context = copy(direction == Direction::encrypt ? keys_->encrypt : keys_->decrypt);
  const auto tweak = keys_->tweak ? copy(keys_->tweak) : Context(nullptr, EVP_CIPHER_CTX_free);
  const auto essiv = keys_->essiv ? copy(keys_->essiv) : Context(nullptr, EVP_CIPHER_CTX_free);
  if (!context || (keys_->tweak && !tweak) || (keys_->essiv && !essiv)) return failed();
  for (; !bytes.empty(); ++sector) {
    const auto part = bytes.first(std::min(sector_size, bytes.size()));
    bytes = bytes.subspan(part.size());
    Block iv{};
    for (std::size_t i = 0; i < sizeof(sector); ++i)
      iv[i] = static_cast<std::byte>((sector & keys_->sector_mask) >> (8 * i) & 0xff);
    if (essiv && !pass(essiv.get(), nullptr, iv)) return failed();
    const bool done = tweak ? pass_xts(context.get(), tweak.get(), iv, part)
                            : pass(context.get(), keys_->has_iv ? &iv : nullptr, part);
    if (!done) return failed();
  }
  return {};
}

}  // namespace cowvet::engine
