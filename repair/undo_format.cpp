#include "repair/undo_format.hpp"

#include <algorithm>
#include <cstdlib>

#include "engine/crypto.hpp"

namespace cowvet::repair {

Digest digest_of(std::initializer_list<base::ConstBytes> parts) {
  const auto made = engine::digest("sha256", std::span(parts.begin(), parts.size()));
  if (!made || made->size() != digest_bytes) std::abort();  // a libcrypto without SHA-256 is none
  Digest digest;
  std::ranges::copy(*made, digest.begin());
  return digest;
}

SectorDigest sector_digest(base::ConstBytes bytes) {
  const auto whole = digest_of({bytes});
  SectorDigest digest;
  std::copy_n(whole.begin(), digest.size(), digest.begin());
  return digest;
}

}  // namespace cowvet::repair
