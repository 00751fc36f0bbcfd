// The image beside what an undo file says of it. Promises: reads only; a sector counts as known when it holds what it
// held before the change or after it, as far as the image reaches now.
#pragma once
#include <cstdint>
#include <optional>

#include "base/progress.hpp"
#include "base/result.hpp"
#include "repair/undo_file.hpp"
#include "storage/device.hpp"

namespace cowvet::repair {

struct Comparison {
  // Every changed sector holds what it held before, or holds afterwards. What lies behind the length of that time does
  // not count: it is to be cut off.
  bool all_before = true, all_after = true;
  std::optional<std::uint64_t> strange;  // the first sector that holds neither
  bool same_head = true;  // with the changes taken back, the image's first bytes are those it had
};

// Reads `image` where `undo` says that it was changed. `undo` is read from its beginning to its end, so that a damaged
// file is told whatever the image holds. Errors: io, for an image that can't be read; as UndoReader; cancelled.
[[nodiscard]] base::Result<Comparison> compare(const storage::Device& image, UndoReader& undo,
                                               base::Progress& progress);

// Reads as many bytes as fit, zeros behind the end. Error io, which says that the image can't be read.
[[nodiscard]] base::Result<void> read_image(const storage::Device& image, std::uint64_t offset,
                                            base::MutableBytes into);

// Changes the length of `image` to `size`, if it has another one, and looks whether it has.
[[nodiscard]] base::Result<void> set_length(storage::Device& image, std::uint64_t size);

// The error of a device that said it had written and did not.
[[nodiscard]] std::unexpected<base::Error> loses_writes();

}  // namespace cowvet::repair
