// Changing an image so that the change can be taken back. Promises: before the first byte of the image
// changes, all that will be overwritten or cut off is durable in the undo file; an error or a crash at any
// moment leaves a state from which undo() restores every byte. When writing fails or is stopped, apply()
// takes back what was written itself.
#pragma once
#include <cstdint>
#include <functional>
#include <span>

#include "base/progress.hpp"
#include "base/result.hpp"
#include "repair/undo_file.hpp"
#include "storage/device.hpp"
#include "storage/overlay.hpp"

namespace cowvet::repair {

struct Applied {
  bool changed = false;       // false: nothing differs; neither device was written to
  std::uint64_t written = 0;  // bytes of the image that were written, whole sectors
  std::uint64_t kept = 0;     // bytes in the undo file
};

// Called when the undo file's content is durable, before the image changes: gives the file its name, for example.
using Publish = std::function<base::Result<void>()>;

// Makes `image` what `wanted` shows. `wanted` lies on `image`, and is the same outside of its changes. `undo` is
// empty and writable. Errors: io, and any that `publish` returns; cancelled; usage, for a block device whose
// length would change. Errors about the undo file say so. In all cases the image is what it was, or the error
// says that it is not.
[[nodiscard]] base::Result<Applied> apply(storage::Device& image, const storage::Overlay& wanted,
                                          storage::Device& undo, const UndoIdentity& who,
                                          const Publish& publish, base::Progress& progress);
// The same for any device that differs from `image` only in `changes` (in order, not overlapping) and behind the
// smaller of both lengths.
[[nodiscard]] base::Result<Applied> apply(storage::Device& image, const storage::Device& wanted,
                                          std::span<const storage::Range> changes, storage::Device& undo,
                                          const UndoIdentity& who, const Publish& publish,
                                          base::Progress& progress);

}  // namespace cowvet::repair
