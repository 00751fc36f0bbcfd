// Where the image ends and where the file ends: cut files, tails that nobody refers to, lengths that other
// programs can't check. Hands on: findings.
#pragma once
#include <cstdint>

#include "analyzer/image.hpp"
#include "analyzer/mapping_checks.hpp"
#include "analyzer/walk.hpp"

namespace cowvet::analyzer {

// used: clusters up to the last that is owned or counted; beyond_eof: clusters past the end with a refcount.
void check_tail(Image& image, const MetadataMap& metadata, Reach reach, std::uint64_t used,
                std::uint64_t beyond_eof);

}  // namespace cowvet::analyzer
