// Taking a change of an image back. Promises: the image is changed only when all of the undo file is sound and each
// sector that was changed holds what it held before the change or after it, so that what others wrote since is never
// mixed with what was; a crash or an error at any moment leaves a state from which undo() run again restores
// every byte.
#pragma once
#include <cstdint>
#include <functional>

#include "base/progress.hpp"
#include "base/result.hpp"
#include "repair/undo_file.hpp"
#include "storage/device.hpp"

namespace cowvet::repair {

// What an undo file is for. Reads the whole file. Errors: wrong_format, for what is no undo file or a damaged one; io;
// cancelled.
[[nodiscard]] base::Result<UndoInfo> read_undo(const storage::Device& undo, base::Progress& progress);

// Sectors of the image that an undo file knows, one behind the other and of one kind. Bytes.
struct UndoRange {
  std::uint64_t begin = 0, end = 0;
  BeforeKind kind = BeforeKind::saved;
};
// Calls `each` for what was changed, in order. Errors as read_undo().
[[nodiscard]] base::Result<void> each_range(const storage::Device& undo,
                                            const std::function<void(const UndoRange&)>& each);

struct Undone {
  bool already = false;       // the image was what it had been; nothing was written to it
  std::uint64_t written = 0;  // bytes that were written back
};

enum class Force : bool { no, yes };

// Whether `image` is what it was before the change. Errors: as read_undo(), and io for an image that can't be read.
[[nodiscard]] base::Result<bool> is_as_before(const storage::Device& image, const storage::Device& undo,
                                              base::Progress& progress);

// Makes `image` what it was before the change, and marks the file as undone. Both are writable.
// Errors: as read_undo(); usage, when the image is another one, or was changed by others since: nothing was written
// then. With Force::yes a later time of change alone is no reason to refuse. cancelled: running it again goes on. io:
// likewise. Errors about the undo file say so, all others are about the image.
[[nodiscard]] base::Result<Undone> undo(storage::Device& image, storage::Device& undo, Force force,
                                        base::Progress& progress);

// Takes a change back that was interrupted, or whose taking back was. False: it was neither, and nothing was done.
[[nodiscard]] base::Result<bool> recover(storage::Device& image, storage::Device& undo,
                                         base::Progress& progress);

}  // namespace cowvet::repair
