// An image whose header and structures were examined, all but the mapping and the refcounts: what the checks
// report, and what they hand on to the walk.
#pragma once
#include <algorithm>
#include <memory>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>

#include "analyzer/image.hpp"
#include "corpus/builder/recipe.hpp"
#include "storage/memory.hpp"

namespace cowvet::analyzer {

class Checked {
 public:
  explicit Checked(const storage::Device& device, Options options = {}, bool cancelled = false)
      : options_(std::move(options)), image(device, options_, collector_, progress_) {
    if (cancelled) progress_.request_stop();
    image.eof = device.size();
    check_header(image);
    check_extensions(image);
    check_data_file(image);
    check_encryption(image);
    check_snapshots(image);
    check_bitmaps(image);
    summary = collector_.summary();
    findings = collector_.take_sorted();
  }

  // How often a rule was reported.
  [[nodiscard]] std::uint64_t times(findings::RuleId rule) const { return summary.of(rule).findings; }
  [[nodiscard]] std::vector<findings::Finding> of(findings::RuleId rule) const {
    std::vector<findings::Finding> list;
    std::ranges::copy_if(findings, std::back_inserter(list), [&](const auto& f) { return f.rule == rule; });
    return list;
  }
  // The only finding of a rule.
  [[nodiscard]] findings::Finding only(findings::RuleId rule) const {
    const auto list = of(rule);
    EXPECT_EQ(list.size(), 1U) << rule->name;
    return list.empty() ? findings::Finding{rule} : list.front();
  }
  [[nodiscard]] std::vector<Region> regions(Kind kind) const {
    std::vector<Region> list;
    std::ranges::copy_if(image.regions, std::back_inserter(list),
                         [&](const auto& r) { return r.kind == kind; });
    return list;
  }
  [[nodiscard]] bool doubts(std::string_view part) const {
    return std::ranges::any_of(image.doubts,
                               [&](const auto& doubt) { return doubt.find(part) != std::string::npos; });
  }

 private:
  Options options_;
  findings::Collector collector_{1000};
  base::Progress progress_;

 public:
  Image image;
  findings::Summary summary;
  std::vector<findings::Finding> findings;
};

// A recipe's image in memory, to be changed before it is checked.
class Bytes {
 public:
  explicit Bytes(std::string_view recipe) {
    auto built = corpus::build(recipe);
    EXPECT_TRUE(built) << (built ? "" : built.error().message);
    if (!built) return;
    bytes = built->file.bytes();
    layout = std::move(built->layout);
  }
  // The big-endian integer of `width` bytes at `offset`; the image grows to hold it.
  void store(std::uint64_t offset, std::size_t width, std::uint64_t value) {
    bytes.resize(std::max<std::size_t>(bytes.size(), offset + width));
    for (std::size_t i = 0; i < width; ++i)
      bytes[offset + width - 1 - i] = static_cast<std::byte>(value >> (8 * i) & 0xff);
  }
  void store(std::uint64_t offset, std::string_view text) {
    bytes.resize(std::max<std::size_t>(bytes.size(), offset + text.size()));
    for (const char c : text) bytes[offset++] = static_cast<std::byte>(c);
  }
  [[nodiscard]] std::unique_ptr<storage::MemoryDevice> device() const {
    return std::make_unique<storage::MemoryDevice>(bytes);
  }

  std::vector<std::byte> bytes;
  corpus::Layout layout;
};

}  // namespace cowvet::analyzer
