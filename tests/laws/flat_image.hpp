// A reader of tiny images that is too simple to be wrong: every guest byte of every layer, and a naive count of every
// reference. It shares nothing with the analyzer but the field tables. Promises: total on any bytes; what can't be read
// has a token of its own.
#pragma once
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/bytes.hpp"

namespace cowvet::laws {

// What a guest sees of one layer: a token a subcluster (a cluster, without extended L2 entries).
struct Layer {
  std::uint64_t size = 0;              // bytes of the disk
  std::vector<std::uint64_t> content;  // disk first, then VM state as far as the L1 table reaches
  friend bool operator==(const Layer&, const Layer&) = default;
};

struct FlatImage {
  std::vector<Layer> layers;                    // the active one, then the snapshots in table order
  std::map<std::uint64_t, std::uint64_t> refs;  // references to each host cluster
  bool writable = false;  // refcounts and COPIED flags agree with `refs`, nothing is shared wrongly
};

// Nothing when the header can't be used at all.
[[nodiscard]] std::optional<FlatImage> read_flat(base::ConstBytes image);

}  // namespace cowvet::laws
