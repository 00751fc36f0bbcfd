// What only a failing or changing device shows: a check goes on past it and says so.
#include <algorithm>
#include <cerrno>

#include <gtest/gtest.h>

#include "analyzer/check.hpp"
#include "corpus/builder/recipe.hpp"
#include "storage/memory.hpp"

namespace cowvet::analyzer {

namespace {

using namespace findings::literals;

// Memory whose reads fail in one range, and whose time of change moves on with each look.
class TroubledDevice final : public storage::Device {
 public:
  explicit TroubledDevice(std::vector<std::byte> bytes) : memory_(std::move(bytes)) {}
  [[nodiscard]] std::uint64_t size() const override { return memory_.size(); }
  [[nodiscard]] std::uint64_t allocated() const override { return memory_.allocated(); }
  [[nodiscard]] std::optional<storage::Identity> identity() const override {
    if (!changing) return std::nullopt;
    return storage::Identity{.modified_sec = ++looks_};
  }
  using Device::read;
  void read(std::span<storage::ReadRequest> batch) const override {
    memory_.read(batch);
    for (auto& request : batch) {
      if (request.offset >= bad_end || request.offset + request.into.size() <= bad_begin) continue;
      std::ranges::fill(request.into, std::byte{0});
      request.os_error = EIO;
    }
  }
  [[nodiscard]] storage::Extent extent(std::uint64_t offset) const override { return memory_.extent(offset); }

  std::uint64_t bad_begin = 0, bad_end = 0;
  bool changing = false;

 private:
  storage::MemoryDevice memory_;
  mutable std::int64_t looks_ = 0;
};

std::vector<findings::Finding> check_of(const TroubledDevice& device) {
  findings::Collector collector(10);
  base::Progress progress;
  const auto verdict = check(device, {}, collector, progress);
  return verdict ? verdict->findings : std::vector<findings::Finding>{};
}

bool has(const std::vector<findings::Finding>& all, findings::RuleId rule) {
  return std::ranges::any_of(all, [&](const auto& f) { return f.rule == rule; });
}

TEST(Stopped, AnL2TableThatCanNotBeReadIsReportedAndTheRestIsChecked) {
  const auto built = corpus::build("image size=1M\ndata 0..3\n");
  ASSERT_TRUE(built) << built.error().message;
  TroubledDevice device(built->file.read(0, built->file.size()));
  EXPECT_TRUE(check_of(device).empty());
  const std::uint64_t table = built->layout.active.l2.at(0);
  device.bad_begin = table;
  device.bad_end = table + 512;
  const auto all = check_of(device);
  EXPECT_TRUE(has(all, "file/io-error"_rule));
  EXPECT_TRUE(has(all, "refcount/leak"_rule)) << "what the table maps has no owner that can be seen";
}

TEST(Stopped, AFileThatChangesDuringTheCheckIsReported) {
  const auto built = corpus::build("image size=1M\ndata 0..3\n");
  ASSERT_TRUE(built) << built.error().message;
  TroubledDevice device(built->file.read(0, built->file.size()));
  device.changing = true;
  EXPECT_TRUE(has(check_of(device), "file/changed-during-check"_rule));
}

}  // namespace

}  // namespace cowvet::analyzer
