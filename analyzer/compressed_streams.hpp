// Compressed streams among each other: neighbours may share one sector, nothing more. Promises: memory is
// bounded; images with very many streams are looked at in several passes. Hands on: findings that name both
// streams.
#pragma once
#include "analyzer/image.hpp"
#include "analyzer/walk.hpp"
#include "base/result.hpp"

namespace cowvet::analyzer {

// One stream, with where to find its entry again.
struct Stream {
  std::uint64_t host = 0;     // first byte
  std::uint64_t guest = 0;    // byte offset of the guest cluster
  std::uint32_t sectors = 0;  // additional ones
  std::uint32_t tree = 0;     // a layer that has it
  [[nodiscard]] std::uint64_t end() const {
    return host + format::CompressedRange{base::HostOffset{host}, sectors}.length();
  }
};

// Gathers the streams of all layers, each once, whose first byte is in [window.begin, window.end); if they
// are more than `most`, the window is narrowed.
class StreamCollector final : public Visitor {
 public:
  StreamCollector(std::uint64_t begin, std::size_t most, const format::Geometry& geometry)
      : begin_(begin), most_(most), geometry_(geometry) {}
  void owned(const Group& group, std::span<const Owned> items, unsigned worker) override;
  // The streams in ascending order, and where the window ended: all streams before that are there.
  [[nodiscard]] std::vector<Stream> take();
  [[nodiscard]] std::uint64_t end() const { return end_; }
  // Streams that were left out because more than half of `most` begin at the window's first byte too.
  [[nodiscard]] std::uint64_t crowded() const { return crowded_; }

 private:
  const std::uint64_t begin_;
  const std::size_t most_;
  const format::Geometry geometry_;
  std::mutex mutex_;
  std::vector<Stream> streams_;
  std::uint64_t end_ = ~std::uint64_t{0};
  std::uint64_t crowded_ = 0;
};

// Holds all streams against each other. To be called when the walk has seen compressed entries.
[[nodiscard]] base::Result<void> check_compressed_streams(Image& image, MappingWalk& walk);

}  // namespace cowvet::analyzer
