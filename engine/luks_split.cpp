// LUKS1's anti-forensic splitter: stripes s1 ... s3999 are random, and the last one is the key xor what all the others
// diffuse to: d = H(d xor s) over the stripes.
#include <algorithm>
#include <array>

#include "engine/luks.hpp"

namespace cowvet::engine {

namespace {

constexpr std::size_t stripes = format::luks_stripes;

// Replaces the bytes by their hashes, a digest's length at a time, each with its number in front; the last one is cut.
base::Result<void> diffuse(std::string_view hash, base::MutableBytes bytes) {
  const auto step = hash_size(hash);
  if (!step) return std::unexpected(step.error());
  std::uint32_t number = 0;
  for (; !bytes.empty(); ++number) {
    const auto part = bytes.first(std::min(*step, bytes.size()));
    std::array<std::byte, sizeof(number)> prefix;
    base::store_be<std::uint32_t, 0>(std::span<std::byte, sizeof(number)>(prefix), number);
    const std::array<base::ConstBytes, 2> parts{base::ConstBytes(prefix), part};
    const auto hashed = digest(hash, parts);
    if (!hashed) return std::unexpected(hashed.error());
    std::ranges::copy(base::ConstBytes(*hashed).first(part.size()), part.begin());
    bytes = bytes.subspan(part.size());
  }
  return {};
}

void add(base::MutableBytes to, base::ConstBytes what) {
  for (std::size_t i = 0; i < to.size(); ++i) to[i] ^= what[i];
}

// What all stripes but the last diffuse to.
base::Result<Secret> gather(std::string_view hash, base::ConstBytes split, std::size_t key_size) {
  Secret sum(key_size);
  for (std::size_t i = 0; i + 1 < stripes; ++i) {
    add(sum.bytes(), split.subspan(i * key_size, key_size));
    if (auto done = diffuse(hash, sum.bytes()); !done) return std::unexpected(done.error());
  }
  return sum;
}

}  // namespace

base::Result<Secret> split_key(std::string_view hash, base::ConstBytes key) {
  Secret split(key.size() * stripes);
  const auto last = split.bytes().last(key.size());
  if (auto made = fill_random(split.bytes().first(key.size() * (stripes - 1))); !made)
    return std::unexpected(made.error());
  const auto sum = gather(hash, split.bytes(), key.size());
  if (!sum) return std::unexpected(sum.error());
  add(last, sum->bytes());
  add(last, key);
  return split;
}

base::Result<Secret> merge_key(std::string_view hash, base::ConstBytes split, std::size_t key_size) {
  auto key = gather(hash, split, key_size);
  if (key) add(key->bytes(), split.last(key_size));
  return key;
}

}  // namespace cowvet::engine
