// The two methods of encryption as Ciphers. See luks.cpp for the header.
#include "engine/cipher.hpp"

#include <algorithm>
#include <array>

#include "engine/crypto.hpp"
#include "engine/luks.hpp"

namespace cowvet::engine {

namespace {

class MethodCipher final : public Cipher {
 public:
  MethodCipher(format::CryptMethod method, SectorCipher sectors)
      : method_(method), sectors_(std::move(sectors)) {}
  [[nodiscard]] format::CryptMethod method() const override { return method_; }
  [[nodiscard]] base::Result<void> encrypt(std::uint64_t sector, base::MutableBytes bytes) const override {
    return sectors_.run(SectorCipher::Direction::encrypt, sector, bytes);
  }
  [[nodiscard]] base::Result<void> decrypt(std::uint64_t sector, base::MutableBytes bytes) const override {
    return sectors_.run(SectorCipher::Direction::decrypt, sector, bytes);
  }

 private:
  format::CryptMethod method_;
  SectorCipher sectors_;
};

base::Result<std::shared_ptr<const Cipher>> with_key(format::CryptMethod method, const SectorMode& mode,
                                                     base::ConstBytes key) {
  auto sectors = SectorCipher::make(mode, key);
  if (!sectors) return std::unexpected(sectors.error());
  return std::make_shared<const MethodCipher>(method, std::move(*sectors));
}

}  // namespace

base::Result<std::shared_ptr<const Cipher>> open_aes(std::string_view secret) {
  Secret key(16);
  const auto bytes = std::as_bytes(std::span(secret));
  std::ranges::copy(bytes.first(std::min(bytes.size(), key.bytes().size())), key.bytes().begin());
  return with_key(format::CryptMethod::aes, {"aes", "cbc", "plain64", ""}, key.bytes());
}

base::Result<std::shared_ptr<const Cipher>> open_luks(base::ConstBytes header, std::string_view secret) {
  const auto luks = parse_luks(header);
  if (!luks) return std::unexpected(luks.error());
  const auto key = unlock_luks(*luks, header, std::as_bytes(std::span(secret)));
  if (!key) return std::unexpected(key.error());
  return with_key(format::CryptMethod::luks, luks->mode(), key->bytes());
}

base::Result<NewLuks> make_luks(const EncryptOptions& options) {
  auto made = make_luks_header(options);
  if (!made) return std::unexpected(made.error());
  auto cipher = with_key(format::CryptMethod::luks, made->text.mode(), made->key.bytes());
  if (!cipher) return std::unexpected(cipher.error());
  return NewLuks{std::move(made->header), std::move(*cipher)};
}

}  // namespace cowvet::engine
