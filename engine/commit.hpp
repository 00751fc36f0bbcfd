// Merging layers downwards [commit, block commit]: what a range of a chain holds is written into the layer below it.
// Promises: as every operation on chains (chain_edit.hpp); layers above the range read the same at every moment, since
// nothing is written to the base but what the range shows them already, and the layer above is told of its new
// backing file only when the base is durable. The top is emptied last, for the same reason.
//
//   base <- s1 <- s2 <- s3 <- active     s2 into s1:  base <- s1 <- s3 <- active
//
// The order, each step of which can be done again:
//  1. The base grows to the size of the range's top. Above it, zeros were seen there.
//  2. Where the base is longer than the top, and the layer above could look behind the top's end, it gets zeros.
//  3. The content is written into the base, and made durable.
//  4. The layer above names the base as its backing file; or, where the top is the active layer, it is emptied.
#pragma once
#include <memory>
#include <optional>
#include <string>

#include "engine/chain_edit.hpp"

namespace cowvet::engine {

struct CommitRequest {
  std::optional<std::string> base = {};  // the layer to merge into; without it, the one below the top
  std::optional<std::string> top = {};   // the uppermost layer to be merged; without it, the active one
  // The active layer keeps what it has. So it does when it is not merged into the layer right below it: its own backing
  // file is no copy of it then.
  bool keep = false;
  std::optional<std::string> backing_name = {};  // under which the layer above is to name the base
};

// `active` is open for reading, with `chain`: its secret opens the layers that are written. Errors name their file;
// not_found: there is no such layer, or nothing below.
[[nodiscard]] base::Result<std::unique_ptr<ChainEdit>> prepare_commit(std::unique_ptr<OpenImage> active,
                                                                      const CommitRequest& request,
                                                                      const ChainOptions& chain,
                                                                      const OpenFile& open);

}  // namespace cowvet::engine
