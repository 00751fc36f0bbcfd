// Encryption of an image's data clusters: LUKS1 and QEMU's old AES method. Promises: sectors of 512 bytes,
// numbered by the place that the method counts by (LUKS: host offset; AES: guest offset); keys are wiped from
// memory when a Cipher ends.
#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/bytes.hpp"
#include "base/result.hpp"
#include "format/header.hpp"

namespace cowvet::engine {

class Cipher {
 public:
  Cipher() = default;
  Cipher(const Cipher&) = delete;
  Cipher& operator=(const Cipher&) = delete;
  virtual ~Cipher() = default;
  [[nodiscard]] virtual format::CryptMethod method() const = 0;
  // In place; the length is a multiple of 512, `sector` the number of the first. Thread-safe.
  [[nodiscard]] virtual base::Result<void> encrypt(std::uint64_t sector, base::MutableBytes bytes) const = 0;
  [[nodiscard]] virtual base::Result<void> decrypt(std::uint64_t sector, base::MutableBytes bytes) const = 0;
};

// The options of `-o encrypt.*`; names and defaults are QEMU's.
struct EncryptOptions {
  format::CryptMethod method = format::CryptMethod::luks;
  std::string secret;  // the password; AES uses its first 16 bytes
  std::string cipher = "aes-256", mode = "xts", ivgen = "plain64", ivgen_hash = "", hash = "sha256";
  std::uint64_t iter_time_ms = 2000;
};

// Old AES (crypt_method 1).
[[nodiscard]] base::Result<std::shared_ptr<const Cipher>> open_aes(std::string_view secret);
// LUKS: `header` are the bytes that the encryption extension names. Error usage: no key slot opens with the
// secret, or a cipher that is not supported (named).
[[nodiscard]] base::Result<std::shared_ptr<const Cipher>> open_luks(base::ConstBytes header,
                                                                    std::string_view secret);
// A new LUKS header with one key slot, and the cipher that it opens.
struct NewLuks {
  std::vector<std::byte> header;  // header, key material of eight slots, up to the payload
  std::shared_ptr<const Cipher> cipher;
};
[[nodiscard]] base::Result<NewLuks> make_luks(const EncryptOptions& options);

}  // namespace cowvet::engine
