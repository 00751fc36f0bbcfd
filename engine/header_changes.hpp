// What can be changed about an image as such: its backing file, its version, its options. Promises: all that
// depends on a change is durable before the one write of the header that makes it.
#pragma once
#include <cstdint>
#include <string_view>

#include "engine/changes.hpp"
#include "engine/cluster_writer.hpp"
#include "engine/image.hpp"
#include "engine/snapshots.hpp"

namespace cowvet::engine {

class HeaderChanges {
 public:
  HeaderChanges(Image& image, Changes& changes, ClusterWriter& writer, Snapshots& snapshots)
      : image_(image), changes_(changes), writer_(writer), snapshots_(snapshots) {}

  [[nodiscard]] base::Result<void> set_backing_file(std::string_view name, std::string_view format);
  // Why that would be refused.
  [[nodiscard]] base::Result<void> takes_backing_file(std::string_view name, std::string_view format) const;
  [[nodiscard]] base::Result<void> set_lazy_refcounts(bool on);
  [[nodiscard]] base::Result<void> set_raw_external_data(bool on);
  [[nodiscard]] base::Result<void> set_data_file(std::string_view name);
  [[nodiscard]] base::Result<void> raise_version();
  [[nodiscard]] base::Result<void> lower_version();

 private:
  [[nodiscard]] std::vector<OwnExtension> extensions_with(std::string_view backing_format) const;
  // Zero clusters, which version 2 does not know, become unallocated ones, or clusters full of zeros over a
  // backing file.
  [[nodiscard]] base::Result<void> express_zeros();
  [[nodiscard]] base::Result<void> drop_zeros(const std::vector<std::uint64_t>& l1);
  [[nodiscard]] base::Result<void> write_zeros();
  // Whether the disk or a snapshot has a compressed cluster.
  [[nodiscard]] base::Result<bool> has_streams() const;
  // Whether a mapping has an entry of some kind.
  using Kind = bool (*)(format::L2Entry);
  [[nodiscard]] base::Result<bool> has(const std::vector<std::uint64_t>& l1, Kind kind) const;

  Image& image_;
  Changes& changes_;
  ClusterWriter& writer_;
  Snapshots& snapshots_;
};

}  // namespace cowvet::engine
