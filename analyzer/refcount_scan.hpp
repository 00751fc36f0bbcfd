// The hot loop of comparing refcounts: where a block says something else than what is expected, for each refcount width
// known at compile time. Promises: all stretches, ascending; what is equal side by side may be told in two parts.
#pragma once
#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "base/bytes.hpp"
#include "base/checked.hpp"
#include "format/refcounts.hpp"

namespace cowvet::analyzer {

// Refcount `index` of a block that holds it, of a width known at compile time.
template <std::uint32_t Order>
[[nodiscard]] std::uint64_t load_refcount(const std::byte* block, std::uint64_t index) {
  if constexpr (Order < 3) {
    return format::refcount_at({block + (index >> (3 - Order)), 1}, Order, index & ((8U >> Order) - 1));
  } else {
    using Wide = std::conditional_t<Order == 5, std::uint32_t, std::uint64_t>;
    using T =
        std::conditional_t<Order == 3, std::uint8_t, std::conditional_t<Order == 4, std::uint16_t, Wide>>;
    T value;
    std::memcpy(&value, block + index * sizeof(T), sizeof(T));
    return base::from_big_endian(value);
  }
}

// Calls differs(first, count, stored) for the stretches of [first, last) of a whole block whose refcounts are not
// `expected`. Blocks are mostly right, so pieces of 512 bytes are compared first where a stretch is that long.
template <std::uint32_t Order, class Differs>
void find_differences(const std::byte* block, std::uint64_t first, std::uint64_t last, std::uint64_t expected,
                      Differs&& differs) {
  constexpr std::size_t piece_bytes = 512;
  constexpr std::uint64_t piece = (piece_bytes * 8) >> Order;
  const auto one_by_one = [&](std::uint64_t at, std::uint64_t end) {
    while (at < end) {
      const std::uint64_t value = load_refcount<Order>(block, at);
      std::uint64_t next = at + 1;
      if (value != expected) {
        while (next < end && load_refcount<Order>(block, next) == value) ++next;
        differs(at, next - at, value);
      }
      at = next;
    }
  };
  constexpr std::uint64_t most = ~std::uint64_t{0} >> (64 - (1U << Order));
  if (last - first < 2 * piece || expected > most) return one_by_one(first, last);

  std::array<std::byte, piece_bytes> pattern;
  for (std::uint64_t i = 0; i < std::max<std::uint64_t>(64U >> Order, 1); ++i)
    format::set_refcount(pattern, Order, i, expected);
  for (std::size_t done = 8; done < pattern.size(); done *= 2)
    std::memcpy(pattern.data() + done, pattern.data(), done);
  std::uint64_t at = base::divide_up(first, piece) * piece;
  one_by_one(first, at);
  for (; last - at >= piece; at += piece)
    if (std::memcmp(block + at / piece * piece_bytes, pattern.data(), piece_bytes) != 0)
      one_by_one(at, at + piece);
  one_by_one(at, last);
}

// Calls use.template operator()<Order>() for the order at hand.
template <class Use>
void with_order(std::uint32_t order, Use&& use) {
  switch (order) {
    case 0: return use.template operator()<0>();
    case 1: return use.template operator()<1>();
    case 2: return use.template operator()<2>();
    case 3: return use.template operator()<3>();
    case 4: return use.template operator()<4>();
    case 5: return use.template operator()<5>();
    default: return use.template operator()<6>();
  }
}

}  // namespace cowvet::analyzer
