// Where the image ends and where the file ends: cut files, tails that nobody refers to, lengths that other
// programs can't check. Hands on: findings.
#pragma once
#include <cstdint>

#include "analyzer/image.hpp"
#include "analyzer/mapping_checks.hpp"
#include "analyzer/walk.hpp"

namespace cowvet::analyzer {

// A single pointer past the end is a damaged pointer; several, or refcounts there, are a file that was cut.
[[nodiscard]] inline bool file_was_cut(Reach reach, std::uint64_t counted_beyond_eof) {
  return reach.beyond >= 2 || counted_beyond_eof != 0;
}

// used: clusters up to the last that is owned or counted; beyond_eof: clusters past the end with a refcount.
void check_tail(Image& image, const MetadataMap& metadata, Reach reach, std::uint64_t used,
                std::uint64_t beyond_eof);

}  // namespace cowvet::analyzer
