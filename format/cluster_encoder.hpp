// Encoding of clusters as a writer of images does it: fast, and as small as QEMU makes them or nearly so.
// Promises: what it makes, every reader of qcow2 can decode.
#pragma once
#include <cstddef>
#include <memory>
#include <vector>

#include "base/bytes.hpp"
#include "format/header.hpp"

namespace cowvet::format {

// One a thread: it keeps its work memory between calls.
class ClusterEncoder {
 public:
  ClusterEncoder();
  ~ClusterEncoder();
  ClusterEncoder(const ClusterEncoder&) = delete;
  ClusterEncoder& operator=(const ClusterEncoder&) = delete;

  // The cluster's stream, shorter than the cluster; empty when there is none.
  [[nodiscard]] std::vector<std::byte> encode(Compression codec, base::ConstBytes cluster);

 private:
  struct Codecs;
  std::unique_ptr<Codecs> codecs_;
};

}  // namespace cowvet::format
