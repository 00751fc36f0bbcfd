#include "engine/crypto.hpp"

#include <array>

#include <fmt/format.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/rand.h>

#include "base/text.hpp"

namespace cowvet::engine {

namespace {

constexpr std::array<const char*, 7> hashes{"sha1",   "sha224",    "sha256", "sha384",
                                            "sha512", "ripemd160", "md5"};

base::Result<const EVP_MD*> find_hash(std::string_view name) {
  for (const auto known : hashes)
    if (known == name)
      if (const EVP_MD* hash = EVP_get_digestbyname(known)) return hash;
  return base::fail(base::ErrorKind::usage, fmt::format("the hash '{}' is not supported: cowvet knows {}",
                                                        base::escape(name), fmt::join(hashes, ", ")));
}

std::unexpected<base::Error> failed(std::string_view what) {
  return base::fail(base::ErrorKind::limit, fmt::format("libcrypto failed when {}", what));
}

const unsigned char* raw(base::ConstBytes bytes) {
  return reinterpret_cast<const unsigned char*>(bytes.data());
}
unsigned char* raw(base::MutableBytes bytes) { return reinterpret_cast<unsigned char*>(bytes.data()); }

}  // namespace

Secret::~Secret() {
  if (!bytes_.empty()) OPENSSL_cleanse(bytes_.data(), bytes_.size());
}

base::Result<std::size_t> hash_size(std::string_view hash) {
  const auto found = find_hash(hash);
  if (!found) return std::unexpected(found.error());
  return static_cast<std::size_t>(EVP_MD_get_size(*found));
}

base::Result<std::vector<std::byte>> digest(std::string_view hash, std::span<const base::ConstBytes> parts) {
  const auto found = find_hash(hash);
  if (!found) return std::unexpected(found.error());
  const std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context(EVP_MD_CTX_new(), EVP_MD_CTX_free);
  bool good = context && EVP_DigestInit_ex(context.get(), *found, nullptr) == 1;
  for (const auto part : parts) good = good && EVP_DigestUpdate(context.get(), part.data(), part.size()) == 1;
  std::vector<std::byte> result(static_cast<std::size_t>(EVP_MD_get_size(*found)));
  good = good && EVP_DigestFinal_ex(context.get(), raw(base::MutableBytes(result)), nullptr) == 1;
  if (!good) return failed("hashing");
  return result;
}

base::Result<void> pbkdf2(std::string_view hash, base::ConstBytes password, base::ConstBytes salt,
                          std::uint64_t iterations, base::MutableBytes key) {
  const auto found = find_hash(hash);
  if (!found) return std::unexpected(found.error());
  if (iterations == 0 || iterations > INT32_MAX || password.size() > INT32_MAX)
    return base::fail(
        base::ErrorKind::limit,
        fmt::format("a key derivation of {} iterations is not supported: 1 to {}", iterations, INT32_MAX));
  const auto* text = password.empty() ? "" : reinterpret_cast<const char*>(password.data());
  if (PKCS5_PBKDF2_HMAC(text, static_cast<int>(password.size()), raw(salt), static_cast<int>(salt.size()),
                        static_cast<int>(iterations), *found, static_cast<int>(key.size()), raw(key)) != 1)
    return failed("deriving a key");
  return {};
}

base::Result<void> fill_random(base::MutableBytes bytes) {
  if (bytes.size() > INT32_MAX || RAND_priv_bytes(raw(bytes), static_cast<int>(bytes.size())) != 1)
    return failed("making random bytes");
  return {};
}

}  // namespace cowvet::engine
