// What an undo file must hold for a change of an image. Promises: only sectors that differ, and holes as
// holes; nothing is written but the undo file; memory for one block.
#pragma once
#include <cstdint>
#include <span>

#include "base/progress.hpp"
#include "base/result.hpp"
#include "repair/undo_file.hpp"
#include "storage/overlay.hpp"

namespace cowvet::repair {

// Writes the blocks of all sectors in `changes` (in order, not overlapping, below wanted.size()) in which `image` and
// `wanted` differ, and of what the change cuts off. Errors: io, cancelled; about the undo file they say so.
[[nodiscard]] base::Result<void> gather(const storage::Device& image, const storage::Device& wanted,
                                        std::span<const storage::Range> changes, UndoWriter& into,
                                        base::Progress& progress);

}  // namespace cowvet::repair
