// Comparing: the first difference is the one that a byte by byte comparison finds, whatever the layouts and
// the number of threads; a failure counts only when nothing differs before it.
#include "engine/compare.hpp"

#include <algorithm>
#include <chrono>
#include <map>
#include <random>
#include <thread>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "engine/create.hpp"
#include "storage/fault.hpp"
#include "storage/file.hpp"
#include "storage/wrapper.hpp"
#include "tests/engine/images.hpp"
#include "tests/storage/temporary.hpp"

namespace cowvet::engine {
namespace {

using testing_images::content;
using testing_images::must;
using Bytes = std::vector<std::byte>;
using Difference = Comparison::Difference;

// A device on which one range is read slowly.
class Slow final : public storage::Wrapper {
 public:
  Slow(storage::Device& under, std::uint64_t begin, std::uint64_t end)
      : Wrapper(under), begin_(begin), end_(end) {}
  using Wrapper::read;
  void read(std::span<storage::ReadRequest> batch) const override {
    using namespace std::chrono_literals;
    if (std::ranges::any_of(
            batch, [&](const auto& r) { return r.offset < end_ && begin_ < r.offset + r.into.size(); }))
      std::this_thread::sleep_for(50ms);
    Wrapper::read(batch);
  }

 private:
  std::uint64_t begin_, end_;
};

class Compare : public testing::Test {
 protected:
  [[nodiscard]] std::string path(const std::string& name) const { return (folder_ / name).string(); }
  void raw(const std::string& name, std::uint64_t size, const std::vector<tests::Piece>& pieces) {
    tests::make_file(path(name), size, pieces);
  }
  // A qcow2 image with random writes of few values, so that equal sectors are frequent.
  void random_image(const std::string& name, const CreateOptions& options, std::uint32_t seed) {
    {
      const auto device = must(storage::create_file(path(name)));
      base::Progress progress;
      must(create_qcow2(*device, nullptr, options, progress));
    }
    std::mt19937 random(seed);
    const auto image = must(open_image(path(name), {.writable = true}, opener()));
    for (int i = 0; i < 12; ++i) {
      const std::uint64_t at = random() % options.size;
      const std::uint64_t length = std::min<std::uint64_t>(options.size - at, random() % 300'000 + 1);
      if (random() % 3 == 0)
        must(image->disk().zero(base::GuestOffset{at}, length, Unmap::yes));
      else
        must(image->disk().write(base::GuestOffset{at}, Bytes(length, std::byte(random() % 2))));
    }
    must(image->close());
  }
  [[nodiscard]] OpenFile opener() const {
    return [this](const std::string& file, bool writable) -> base::Result<std::unique_ptr<storage::Device>> {
      auto device = storage::open_file(file, {.writable = writable});
      if (const auto slow = slow_.find(file); device && slow != slow_.end()) {
        hurt_.push_back(std::move(*device));
        return std::make_unique<Slow>(*hurt_.back(), slow->second, slow->second + 1);
      }
      const auto fault = faults_.find(file);
      if (!device || fault == faults_.end()) return device;
      hurt_.push_back(std::move(*device));
      return std::make_unique<storage::FaultDevice>(*hurt_.back(), std::vector{fault->second});
    };
  }
  [[nodiscard]] std::expected<Comparison, CompareFailure> compare(const std::string& a, const std::string& b,
                                                                  bool strict = false, unsigned jobs = 3) {
    const auto first = must(open_image(path(a), {}, opener()));
    const auto second = must(open_image(path(b), {}, opener()));
    base::Progress progress;
    auto result = engine::compare(*first, *second, {.strict = strict, .jobs = jobs}, progress);
    if (result && result->difference == Difference::none) {
      EXPECT_EQ(progress.done(), progress.total());
    }
    return result;
  }

  tests::Folder folder_;
  std::map<std::string, storage::Fault> faults_;
  std::map<std::string, std::uint64_t> slow_;
  mutable std::vector<std::unique_ptr<storage::Device>> hurt_;  // what lies below devices that fail
};

TEST_F(Compare, FindsTheFirstDifferenceThatThereIs) {
  const std::vector<CreateOptions> kinds{{.size = 3 << 20},
                                         {.size = 3 << 20, .cluster_size = 512},
                                         {.size = 5 << 20, .cluster_size = 2 << 20},
                                         {.size = 3 << 20, .extended_l2 = true}};
  for (std::uint32_t seed = 0; seed < 12; ++seed) {
    random_image("a", kinds[seed % kinds.size()], seed);
    random_image("b", kinds[seed / 3 % kinds.size()], seed % 2 == 0 ? seed : seed + 100);
    auto x = content(must(open_image(path("a"), {}, opener()))->disk());
    auto y = content(must(open_image(path("b"), {}, opener()))->disk());
    const auto common = std::min(x.size(), y.size());
    x.resize(std::max(x.size(), y.size()));
    y.resize(x.size());
    const auto at = std::ranges::mismatch(x, y).in1 - x.begin();
    for (const unsigned jobs : {1U, 2U, 8U}) {
      const auto found = compare("a", "b", false, jobs);
      ASSERT_TRUE(found) << found.error().error.message;
      if (at == std::ssize(x)) {
        EXPECT_EQ(found->difference, Difference::none) << seed;
        EXPECT_TRUE(found->common_part_same);
      } else {
        EXPECT_EQ(found->difference, Difference::content) << seed;
        EXPECT_EQ(found->offset, static_cast<std::uint64_t>(at) / 512 * 512) << seed;
        EXPECT_EQ(found->common_part_same, found->offset >= common) << seed;
      }
    }
  }
}

TEST_F(Compare, StrictlyLooksAtSizesAndAllocationFirst) {
  raw("hole", 4 << 20, {});
  raw("zeros", 4 << 20, {{2 << 20, Bytes(1 << 20)}});
  raw("longer", 5 << 20, {});
  EXPECT_EQ(compare("hole", "zeros")->difference, Difference::none);
  EXPECT_EQ(compare("hole", "zeros", true)->difference, Difference::allocation);
  EXPECT_EQ(compare("hole", "zeros", true)->offset, 2U << 20);
  EXPECT_EQ(compare("hole", "longer")->difference, Difference::none);
  EXPECT_EQ(compare("hole", "longer", true)->difference, Difference::size);
}

TEST_F(Compare, FailsOnlyWhereNothingDiffersBefore) {
  raw("a", 16 << 20, {{0, tests::pattern(16 << 20, 1)}});
  raw("b", 16 << 20, {{0, tests::pattern(16 << 20, 1)}});
  faults_[path("b")] = {.begin = 9 << 20, .end = (9 << 20) + 512, .persistent = true};
  auto failed = compare("a", "b");
  ASSERT_FALSE(failed);
  EXPECT_TRUE(failed.error().second);
  EXPECT_EQ(failed.error().step, CompareFailure::Step::content);
  EXPECT_EQ(failed.error().offset, 9U << 20);
  for (const std::uint64_t differs :
       {std::uint64_t{3} << 20, (std::uint64_t{9} << 20) - 1, std::uint64_t{12} << 20}) {
    auto other = tests::pattern(16 << 20, 1);
    other[differs] ^= std::byte{1};
    raw("a", 16 << 20, {{0, other}});
    slow_[path("a")] = differs;  // the failure is met first
    for (int i = 0; i < 2; ++i) {
      const auto result = compare("a", "b", false, 4);
      EXPECT_EQ(result.has_value(), differs < (9U << 20)) << differs;
      if (result) {
        EXPECT_EQ(result->offset, differs / 512 * 512);
      }
    }
  }
}

TEST_F(Compare, EndsWhenAskedTo) {
  raw("a", 16 << 20, {{0, tests::pattern(16 << 20, 1)}});
  const auto first = must(open_image(path("a"), {}, opener()));
  const auto second = must(open_image(path("a"), {}, opener()));
  base::Progress progress;
  progress.request_stop();
  const auto stopped = engine::compare(*first, *second, {.jobs = 2}, progress);
  ASSERT_FALSE(stopped);
  EXPECT_EQ(stopped.error().error.kind, base::ErrorKind::cancelled);
}

}  // namespace
}  // namespace cowvet::engine
