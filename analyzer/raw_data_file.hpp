// A raw external data file shows the whole disk by itself, so it must hold zeros wherever the image reads as
// zeros or has nothing. Reads the data file outside the ranges that the image maps. Hands on: findings.
#pragma once
#include "analyzer/image.hpp"
#include "analyzer/walk.hpp"
#include "base/result.hpp"

namespace cowvet::analyzer {

[[nodiscard]] base::Result<void> check_raw_data_file(Image& image, MappingWalk& walk,
                                                     const storage::Device& data_file);

}  // namespace cowvet::analyzer
