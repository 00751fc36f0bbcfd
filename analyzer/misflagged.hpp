// Two header bits decide how every L2 entry is read: extended entries, and data in an external file. When the
// image does not add up as the header says, but adds up perfectly with one of them flipped, the bit is what
// is wrong.
#pragma once
#include "analyzer/image.hpp"
#include "analyzer/refcounts.hpp"
#include "analyzer/walk.hpp"

namespace cowvet::analyzer {

// wrong: clusters whose refcount is not what it should be; nothing is tried when there are none.
void check_misflagged(Image& image, const MetadataMap& metadata, Refcounts& refcounts, std::uint64_t wrong,
                      unsigned jobs);

}  // namespace cowvet::analyzer
