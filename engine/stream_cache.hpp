// The clusters that were decompressed last. Small reads that follow each other lie in one cluster, which
// would otherwise be decoded for each of them. Promises: safe from several threads at once; no more than a
// few clusters are kept.
#pragma once
#include <array>
#include <cstdint>
#include <memory>
#include <mutex>
#include <utility>

#include "base/bytes.hpp"

namespace cowvet::engine {

class StreamCache {
 public:
  using Cluster = std::shared_ptr<const std::byte[]>;

  // The cluster that an L2 entry's stream decodes to; null: not kept.
  [[nodiscard]] Cluster find(std::uint64_t entry) {
    const std::scoped_lock lock(mutex_);
    for (auto& kept : kept_)
      if (kept.cluster != nullptr && kept.entry == entry) {
        kept.used = ++clock_;
        return kept.cluster;
      }
    return nullptr;
  }

  void keep(std::uint64_t entry, Cluster cluster) {
    const std::scoped_lock lock(mutex_);
    auto* oldest = kept_.data();
    for (auto& kept : kept_)
      if (kept.used < oldest->used) oldest = &kept;
    *oldest = {.entry = entry, .used = ++clock_, .cluster = std::move(cluster)};
  }

  // To be called when a stream is written: it may lie where another one did.
  void forget() {
    const std::scoped_lock lock(mutex_);
    kept_ = {};
  }

 private:
  struct Kept {
    std::uint64_t entry = 0, used = 0;
    Cluster cluster = nullptr;
  };
  std::mutex mutex_;
  std::array<Kept, 4> kept_;  // at most 8 MiB
  std::uint64_t clock_ = 0;
};

}  // namespace cowvet::engine
