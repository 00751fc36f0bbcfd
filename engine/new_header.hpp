// The first cluster of a new image: header, extensions, backing file name.
#pragma once
#include <vector>

#include "engine/new_image.hpp"

namespace cowvet::engine {

// A whole cluster. Error usage: the names don't fit.
[[nodiscard]] base::Result<std::vector<std::byte>> new_header(const NewImage& image,
                                                              const CreateOptions& options);

}  // namespace cowvet::engine
