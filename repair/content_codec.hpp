// Which codec an image's compressed clusters are written with, by their bytes.
#pragma once
#include <optional>

#include "format/header.hpp"
#include "repair/draft.hpp"

namespace cowvet::repair {

// By the first few compressed clusters; nothing when there is none.
[[nodiscard]] std::optional<format::Compression> codec_of_content(const Draft& draft);

}  // namespace cowvet::repair
