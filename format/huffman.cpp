#include "format/huffman.hpp"

#include <algorithm>
#include <array>

namespace cowvet::format {

namespace {

struct Weight {
  std::uint32_t frequency;
  std::uint32_t symbol;
};

// The depth of each leaf of an optimal tree over ascending weights, in their place, deepest first: Moffat and
// Katajainen, "In-place calculation of minimum-redundancy codes" (1995).
void depths(std::span<std::uint32_t> a) {
  const std::size_t n = a.size();
  // 1. Weights of inner nodes; then, in their place, who is whose parent.
  std::size_t leaf = 0;
  std::size_t root = 0;
  for (std::size_t next = 0; next + 1 < n; ++next) {
    const auto take = [&]() -> std::uint32_t {
      if (leaf >= n || (root < next && a[root] < a[leaf])) {
        const auto weight = a[root];
        a[root++] = static_cast<std::uint32_t>(next);
        return weight;
      }
      return a[leaf++];
    };
    const auto first = take();
    a[next] = first + take();
  }
  // 2. From the root down: depths of inner nodes.
  a[n - 2] = 0;
  for (std::size_t next = n - 2; next-- > 0;) a[next] = a[a[next]] + 1;
  // 3. From the depths of inner nodes to those of leaves.
  std::size_t available = 1;
  std::uint32_t depth = 0;
  std::size_t inner = n - 1;  // those below are not looked at yet
  std::size_t place = n;
  while (available > 0) {
    std::size_t used = 0;
    while (inner > 0 && a[inner - 1] == depth) {
      ++used;
      --inner;
    }
    for (; available > used; --available) a[--place] = depth;
    available = 2 * used;
    ++depth;
  }
}

}  // namespace

void code_lengths(std::span<const std::uint32_t> frequencies, unsigned limit,
                  std::span<std::uint8_t> lengths) {
  std::array<Weight, most_symbols> weights;
  std::size_t n = 0;
  for (std::uint32_t symbol = 0; symbol < frequencies.size(); ++symbol) {
    lengths[symbol] = 0;
    if (frequencies[symbol] != 0) weights[n++] = {frequencies[symbol], symbol};
  }
  std::sort(weights.begin(), weights.begin() + static_cast<std::ptrdiff_t>(n),
            [](const Weight& x, const Weight& y) {
              return x.frequency != y.frequency ? x.frequency < y.frequency : x.symbol < y.symbol;
            });
  std::array<std::uint32_t, most_symbols> tree;
  for (std::size_t i = 0; i < n; ++i) tree[i] = weights[i].frequency;
  depths(std::span(tree).first(n));

  // Codewords above the limit are shortened to it; others, as long as possible, are lengthened until all fit again.
  std::array<std::uint32_t, longest_codeword + 1> count{};
  for (std::size_t i = 0; i < n; ++i) ++count[std::min<std::uint32_t>(tree[i], limit)];
  std::uint32_t taken = 0;  // of 2^limit
  for (unsigned length = 1; length <= limit; ++length) taken += count[length] << (limit - length);
  while (taken > 1U << limit) {
    unsigned length = limit - 1;
    while (count[length] == 0) --length;
    --count[length];
    ++count[length + 1];
    taken -= 1U << (limit - length - 1);
  }
  // Where that took more than was needed, the rarest move up again.
  for (unsigned length = limit; taken < 1U << limit;) {
    while (count[length] == 0 || (1U << limit) - taken < 1U << (limit - length)) --length;
    --count[length];
    ++count[length - 1];
    taken += 1U << (limit - length);
  }
  std::size_t i = 0;
  for (unsigned length = limit; length > 0; --length)
    for (std::uint32_t k = 0; k < count[length]; ++k)
      lengths[weights[i++].symbol] = static_cast<std::uint8_t>(length);
}

void codewords(std::span<const std::uint8_t> lengths, std::span<std::uint16_t> words) {
  std::array<std::uint32_t, longest_codeword + 1> first{};
  std::array<std::uint32_t, longest_codeword + 1> count{};
  for (const auto length : lengths)
    if (length != 0) ++count[length];
  for (std::size_t length = 1; length < first.size(); ++length)
    first[length] = (first[length - 1] + count[length - 1]) << 1;
  for (std::size_t symbol = 0; symbol < lengths.size(); ++symbol) {
    const unsigned length = lengths[symbol];
    if (length == 0) continue;
    std::uint32_t word = first[length]++;
    std::uint32_t reversed = 0;
    for (unsigned bit = 0; bit < length; ++bit, word >>= 1) reversed = reversed << 1 | (word & 1);
    words[symbol] = static_cast<std::uint16_t>(reversed);
  }
}

}  // namespace cowvet::format
