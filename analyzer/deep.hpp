// --deep: every compressed cluster is decoded and every data cluster is read, in all layers. Promises: output
// of a decoded cluster is bounded by the cluster; nothing is read twice however many layers share it. Hands
// on: findings.
#pragma once
#include "analyzer/image.hpp"
#include "analyzer/walk.hpp"
#include "base/result.hpp"

namespace cowvet::analyzer {

[[nodiscard]] base::Result<void> check_deep(Image& image, MappingWalk& walk);

}  // namespace cowvet::analyzer
