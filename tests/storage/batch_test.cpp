// Joining of requests, and narrowing down of what can't be read.
#include "storage/batch.hpp"

#include <cerrno>
#include <set>

#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <rapidcheck/gtest.h>

#include "tests/storage/temporary.hpp"

namespace cowvet::storage {
namespace {

using tests::pattern;

// A disk whose bad sectors (of 512 bytes) fail every access that touches them; counts the accesses.
struct BadDisk {
  std::vector<std::byte> bytes;
  std::set<std::uint64_t> bad{};
  std::size_t longest_answer = SIZE_MAX;  // an access may bring less than was asked for
  std::size_t accesses = 0;
  std::size_t passes_after = SIZE_MAX;  // from this access on, bad sectors read well

  std::int64_t operator()(std::uint64_t offset, base::MutableBytes into) {
    ++accesses;
    if (offset >= bytes.size()) return 0;
    const auto length =
        std::min({into.size(), bytes.size() - static_cast<std::size_t>(offset), longest_answer});
    for (std::uint64_t sector = offset / 512; accesses < passes_after && sector * 512 < offset + length;
         ++sector)
      if (bad.contains(sector)) return -EIO;
    std::copy_n(bytes.begin() + static_cast<std::ptrdiff_t>(offset), length, into.begin());
    return static_cast<std::int64_t>(length);
  }
};

ReadRequest read(BadDisk& disk, std::uint64_t offset, base::MutableBytes into, unsigned patience = 256) {
  std::ranges::fill(into, std::byte{0xee});
  ReadRequest request{.offset = offset, .into = into};
  prepare(request, disk.bytes.size());
  read_patiently(request, std::ref(disk), patience);
  return request;
}

RC_GTEST_PROP(ReadPatiently, OnlyBadSectorsAreMissing, ()) {
  BadDisk disk{.bytes = pattern(*rc::gen::inRange<std::size_t>(1, 100'000), 5)};
  for (const auto sector :
       *rc::gen::container<std::vector<std::uint64_t>>(4, rc::gen::inRange<std::uint64_t>(0, 200)))
    disk.bad.insert(sector);
  disk.longest_answer = *rc::gen::element<std::size_t>(SIZE_MAX, 10'000, 700);
  const auto offset = *rc::gen::inRange<std::uint64_t>(0, 100'000);
  std::vector<std::byte> into(*rc::gen::inRange<std::size_t>(1, 70'000));
  const auto request = read(disk, offset, into);

  std::uint64_t bad_begin = UINT64_MAX;
  std::uint64_t bad_end = 0;
  for (std::size_t i = 0; i < into.size(); ++i) {
    const bool there = offset + i < disk.bytes.size();
    const bool bad = there && disk.bad.contains((offset + i) / 512);
    RC_ASSERT(into[i] == (there && !bad ? disk.bytes[static_cast<std::size_t>(offset) + i] : std::byte{0}));
    if (!bad) continue;
    bad_begin = std::min<std::uint64_t>(bad_begin, i);
    bad_end = i + 1;
  }
  RC_ASSERT(request.os_error == (bad_end > 0 ? EIO : 0));
  if (bad_end > 0) {
    RC_ASSERT(request.bad_begin == bad_begin);
    RC_ASSERT(request.bad_end == bad_end);
  }
  RC_ASSERT(request.valid == std::min<std::uint64_t>(
                                 offset < disk.bytes.size() ? disk.bytes.size() - offset : 0, into.size()));
}

TEST(ReadPatiently, ADeadDiskIsGivenUp) {
  BadDisk disk{.bytes = pattern(4 << 20, 1)};
  for (std::uint64_t sector = 0; sector < disk.bytes.size() / 512; ++sector) disk.bad.insert(sector);
  std::vector<std::byte> into(disk.bytes.size());
  const auto request = read(disk, 0, into, 20);
  EXPECT_EQ(disk.accesses, 20);
  EXPECT_EQ(request.os_error, EIO);
  EXPECT_EQ(request.bad_begin, 0);
  EXPECT_EQ(request.bad_end, into.size());
  EXPECT_TRUE(base::all_zero(into));
}

TEST(ReadPatiently, WhatPassesTheSecondTimeIsNoError) {
  BadDisk disk{.bytes = pattern(65536, 1), .bad = {3}, .passes_after = 2};
  std::vector<std::byte> into(65536);
  const auto request = read(disk, 0, into);
  EXPECT_EQ(request.os_error, 0);
  EXPECT_EQ(into, disk.bytes);
}

TEST(ReadPatiently, InterruptedAccessesAreRepeated) {
  const auto bytes = pattern(100, 1);
  std::vector<std::byte> into(100);
  ReadRequest request{.offset = 0, .into = into};
  prepare(request, 100);
  int calls = 0;
  read_patiently(request, [&](std::uint64_t at, base::MutableBytes part) -> std::int64_t {
    if (++calls % 2 == 1) return -EINTR;
    part[0] = bytes[static_cast<std::size_t>(at)];
    return 1;
  });
  EXPECT_EQ(into, bytes);
  EXPECT_EQ(request.os_error, 0);
}

RC_GTEST_PROP(PlanRuns, EachRequestIsInOneRunAndRunsKeepTheirBounds, ()) {
  const auto ranges = *rc::gen::container<std::vector<std::pair<std::uint64_t, std::size_t>>>(rc::gen::pair(
      rc::gen::inRange<std::uint64_t>(0, 2'000'000), rc::gen::inRange<std::size_t>(1, 100'000)));
  std::vector<ReadRequest> batch;
  std::vector<std::uint32_t> order;
  for (const auto& [offset, length] : ranges) {
    order.push_back(static_cast<std::uint32_t>(batch.size()));
    batch.push_back({.offset = offset, .into = {}, .valid = length});
  }
  const auto runs = plan_runs(batch, order);
  std::set<std::uint32_t> seen;
  std::size_t next = 0;
  for (const auto& run : runs) {
    RC_ASSERT(run.first == next);
    RC_ASSERT(run.first < run.last);
    next = run.last;
    RC_ASSERT(run.last - run.first == 1 || run.end - run.begin <= longest_run);
    RC_ASSERT(run.last - run.first <= most_run_members);
    std::uint64_t at = run.begin;
    for (std::size_t i = run.first; i < run.last; ++i) {
      const auto& request = batch[order[i]];
      RC_ASSERT(request.offset >= at);
      RC_ASSERT(request.offset - at <= joined_gap);
      at = request.offset + request.valid;
      RC_ASSERT(seen.insert(order[i]).second);
    }
    RC_ASSERT(batch[order[run.first]].offset == run.begin);
    RC_ASSERT(at == run.end);
  }
  RC_ASSERT(next == batch.size());
}

TEST(PlanRuns, NeighboursBecomeOneAccess) {
  std::vector<ReadRequest> batch;
  for (const std::uint64_t offset : {65536U, 0U, 131072U, 196608U + 4096U, 1U << 30U})
    batch.push_back({.offset = offset, .into = {}, .valid = 65536});
  std::vector<std::uint32_t> order{0, 1, 2, 3, 4};
  const auto runs = plan_runs(batch, order);
  ASSERT_EQ(runs.size(), 2);
  EXPECT_EQ(runs[0].begin, 0);
  EXPECT_EQ(runs[0].end, 262144 + 4096);
  EXPECT_EQ(runs[1].begin, 1U << 30U);
}

TEST(PlanRuns, ARunIsNotLongerThanItsBound) {
  std::vector<ReadRequest> batch;
  std::vector<std::uint32_t> order;
  for (std::uint32_t i = 0; i < 40; ++i) {
    batch.push_back({.offset = i * 65536U, .into = {}, .valid = 65536});
    order.push_back(i);
  }
  const auto runs = plan_runs(batch, order);
  ASSERT_EQ(runs.size(), 3);
  EXPECT_EQ(runs[0].end, longest_run);
  EXPECT_EQ(runs[1].begin, longest_run);
}

TEST(RunVector, PutsGapsIntoTheirOwnBuffer) {
  std::vector<std::byte> a(100), b(50);
  std::array<std::byte, joined_gap> gap{};
  const std::vector<ReadRequest> batch{{.offset = 1000, .into = b, .valid = 50},
                                       {.offset = 0, .into = a, .valid = 100}};
  const std::vector<std::uint32_t> order{1, 0};
  RunVector vector;
  vector.set(batch, order, {.begin = 0, .end = 1050, .first = 0, .last = 2}, gap);
  ASSERT_EQ(vector.count(), 3);
  EXPECT_EQ(vector.data()[0].iov_base, a.data());
  EXPECT_EQ(vector.data()[0].iov_len, 100);
  EXPECT_EQ(vector.data()[1].iov_base, gap.data());
  EXPECT_EQ(vector.data()[1].iov_len, 900);
  EXPECT_EQ(vector.data()[2].iov_base, b.data());
  EXPECT_EQ(vector.data()[2].iov_len, 50);
}

}  // namespace
}  // namespace cowvet::storage
