// Finding wrong refcounts quickly finds the same as looking at each of them, for every width.
#include "analyzer/refcount_scan.hpp"

#include <vector>

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

namespace cowvet::analyzer {
namespace {

constexpr std::size_t block_bytes = 8192;

// A block that is right nearly everywhere.
template <std::uint32_t Order>
void differences_are_those_of_a_plain_loop() {
  constexpr std::uint64_t entries = (block_bytes * 8) >> Order;
  constexpr std::uint64_t most = ~std::uint64_t{0} >> (64 - (1U << Order));
  const auto value = rc::gen::oneOf(rc::gen::inRange<std::uint64_t>(0, 4),
                                    rc::gen::element<std::uint64_t>(0, 1, most, most / 2 + 1));
  const std::uint64_t filled = *value & most;
  std::vector<std::byte> block(block_bytes);
  for (std::uint64_t i = 0; i < entries; ++i) format::set_refcount(block, Order, i, filled);
  for (const auto& [at, length] :
       *rc::gen::container<std::vector<std::pair<std::uint64_t, std::uint64_t>>>(rc::gen::pair(
           rc::gen::inRange<std::uint64_t>(0, entries), rc::gen::inRange<std::uint64_t>(1, 5)))) {
    const std::uint64_t other = *value & most;
    for (std::uint64_t i = at; i < std::min(at + length, entries); ++i)
      format::set_refcount(block, Order, i, other);
  }
  // What is expected may be more than the width can say.
  const std::uint64_t expected =
      *rc::gen::oneOf(rc::gen::just(filled), rc::gen::inRange<std::uint64_t>(0, 70000));
  const std::uint64_t first = *rc::gen::inRange<std::uint64_t>(0, entries);
  const std::uint64_t last = *rc::gen::inRange<std::uint64_t>(first, entries + 1);

  std::uint64_t next = first;  // nothing below differs without having been told
  find_differences<Order>(block.data(), first, last, expected,
                          [&](std::uint64_t at, std::uint64_t count, std::uint64_t stored) {
                            RC_ASSERT(at >= next && count > 0 && at + count <= last && stored != expected);
                            for (; next < at; ++next)
                              RC_ASSERT(format::refcount_at(block, Order, next) == expected);
                            for (; next < at + count; ++next)
                              RC_ASSERT(format::refcount_at(block, Order, next) == stored);
                          });
  for (; next < last; ++next) RC_ASSERT(format::refcount_at(block, Order, next) == expected);
}

RC_GTEST_PROP(RefcountScan, finds_every_difference_of_any_width, ()) {
  with_order(*rc::gen::inRange(0U, 7U),
             []<std::uint32_t Order> { differences_are_those_of_a_plain_loop<Order>(); });
}

TEST(RefcountScan, a_count_that_the_width_cannot_say_differs_everywhere) {
  const std::vector<std::byte> block(block_bytes);  // 1-bit refcounts, all 0; 2 is 0 in the lowest bit
  std::uint64_t different = 0;
  find_differences<0>(block.data(), 0, block_bytes * 8, 2,
                      [&](auto, std::uint64_t count, auto) { different += count; });
  EXPECT_EQ(different, block_bytes * 8);
}

}  // namespace
}  // namespace cowvet::analyzer
