// What an operation makes or gives up, noted in the header while it is under way: see format/scrap.hpp.
// Promises: the note is durable before anything is counted or left without an owner; it is gone when the
// operation is done, and stays when the operation failed, whatever others note meanwhile; the next opening for writing
// counts down what was left, and nothing else.
#pragma once
#include <cstdint>
#include <vector>

#include "base/result.hpp"
#include "engine/bitmaps.hpp"
#include "engine/changes.hpp"
#include "engine/image.hpp"
#include "format/scrap.hpp"

namespace cowvet::engine {

// A table of cluster offsets, as it lies in the file.
struct ScrapTable {
  base::HostOffset at;
  std::uint64_t entries = 0;
};

// What one operation has noted.
using ScrapNote = std::vector<format::ScrapRecord>;

// Durable when it returns. To be called when everything is settled. Where the first sector has no room
// nothing is noted: a crash may then leave tables that a check must take for lost ones.
[[nodiscard]] base::Result<ScrapNote> note_scrap(Image& image, const std::vector<ScrapTable>& tables);
// What was noted is counted down, durably, or has its owner. Tables that are free now are filled with zeros:
// used again, and counted before their new content is there, they would be taken for what they were.
[[nodiscard]] base::Result<void> drop_scrap(Image& image, Changes& changes, const ScrapNote& note);
// After a crash: what the noted tables name is counted as often as it has owners. An image with other faults than that
// stays as it is.
[[nodiscard]] base::Result<void> recover_scrap(Image& image, Changes& changes, const Bitmaps& bitmaps);

}  // namespace cowvet::engine
