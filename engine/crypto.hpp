// The primitives that encrypted images are made of, by the names that images use. Promises: bytes that are
// secret are wiped when they are done with; what libcrypto does not have is an error that names it.
#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "base/bytes.hpp"
#include "base/result.hpp"

namespace cowvet::engine {

// Bytes that are overwritten before their memory is given back.
class Secret {
 public:
  explicit Secret(std::size_t size) : bytes_(size) {}
  explicit Secret(base::ConstBytes bytes) : bytes_(bytes.begin(), bytes.end()) {}
  Secret(const Secret&) = delete;
  Secret& operator=(const Secret&) = delete;
  Secret(Secret&&) noexcept = default;
  Secret& operator=(Secret&&) = delete;
  ~Secret();
  [[nodiscard]] base::MutableBytes bytes() { return bytes_; }
  [[nodiscard]] base::ConstBytes bytes() const { return bytes_; }

 private:
  std::vector<std::byte> bytes_;
};

// Hashes are named "sha1", "sha224", "sha256", "sha384", "sha512", "ripemd160", "md5".
[[nodiscard]] base::Result<std::size_t> hash_size(std::string_view hash);
[[nodiscard]] base::Result<std::vector<std::byte>> digest(std::string_view hash,
                                                          std::span<const base::ConstBytes> parts);
[[nodiscard]] base::Result<void> pbkdf2(std::string_view hash, base::ConstBytes password,
                                        base::ConstBytes salt, std::uint64_t iterations,
                                        base::MutableBytes key);
[[nodiscard]] base::Result<void> fill_random(base::MutableBytes bytes);

// How sectors are encrypted: "aes" with a key of so many bytes, a mode ("xts", "cbc", "ctr", "ecb"), and how the
// initialisation vector follows from the sector's number ("plain", "plain64", "essiv" with a hash).
struct SectorMode {
  std::string_view cipher, mode, ivgen, ivgen_hash;
};
// Bytes of a key for AES with `bits` in this mode: xts takes two.
[[nodiscard]] std::size_t key_size(unsigned bits, std::string_view mode);

class SectorCipher {
 public:
  [[nodiscard]] static base::Result<SectorCipher> make(const SectorMode& mode, base::ConstBytes key);
  // Whether make() would succeed with a key of so many bytes; the error says what is not supported.
  [[nodiscard]] static base::Result<void> supported(const SectorMode& mode, std::size_t key_bytes);
  SectorCipher(const SectorCipher&) = delete;
  SectorCipher& operator=(const SectorCipher&) = delete;
  SectorCipher(SectorCipher&&) noexcept;
  SectorCipher& operator=(SectorCipher&&) = delete;
  ~SectorCipher();
  enum class Direction : std::uint8_t { decrypt, encrypt };
  // In place, in sectors of 512 bytes, of which the last may be cut to a multiple of 16.
  [[nodiscard]] base::Result<void> run(Direction direction, std::uint64_t sector,
                                       base::MutableBytes bytes) const;

 private:
  struct Keys;
  explicit SectorCipher(std::unique_ptr<const Keys> keys);
  std::unique_ptr<const Keys> keys_;
};

}  // namespace cowvet::engine
