// When the header can't be believed: what the rest of the file says about cluster size and table positions.
#pragma once
#include "analyzer/image.hpp"

namespace cowvet::analyzer {

// Tries to understand an image without its header; `image.header` and `image.cluster0` hold what is there (perhaps
// nothing) and the reasons why it is unusable have been reported. True: `image.geometry`, `image.inferred`
// and the fields of `image.header` that the walk needs (version, cluster_bits, size, L1 and refcount table,
// refcount order and header length) say what was found, a position that was not found being 0;
// header/inferred tells from what. The caller goes on as with a stored header, and what it reports is marked
// as inferred. False: nothing was changed.
[[nodiscard]] bool infer_image(Image& image);

}  // namespace cowvet::analyzer
