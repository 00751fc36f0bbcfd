// Copying images into another one, for the verbs that do. Promises: no file is both read and written; a new
// image that could not be finished is not left behind; one that was there and is only written into stays.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/result.hpp"
#include "cli/console.hpp"
#include "cli/creation.hpp"
#include "cli/disks.hpp"
#include "cli/new_image.hpp"
#include "cli/overlay_guard.hpp"
#include "engine/chain.hpp"
#include "engine/copy.hpp"

namespace cowvet::cli {

// For the tables of each layer that is read: what is read in order needs few of them.
inline constexpr std::uint64_t source_cache_bytes = 2 << 20;

struct Conversion {
  std::vector<std::unique_ptr<engine::OpenImage>> sources;
  engine::ChainSource content;  // of the sources

  // Whether the image is made: otherwise it is there, and `target_words` say how it is opened.
  bool create = true;
  NewImage target;
  DiskWords target_words;
  OverlayGuard guard;
  CreationWords words;  // of a new image, but for its size
  Secrets secrets;
  bool durable = false;  // a new image is written to the disk before the verb ends

  bool reads_zero = false;     // an image that is there: it is known to read as zeros
  bool keeps_backing = false;  // what the target's backing file shows is not written
  bool compressed = false;
  bool bitmaps = false, skip_broken_bitmaps = false;
  engine::CopyOptions options;
  bool salvage = false;
  bool progress = false, quiet = false;

  explicit Conversion(bool to_qcow2) : words(to_qcow2) {}
};

// Errors begin with the file that they are about.
[[nodiscard]] base::Result<void> convert_images(Conversion& conversion, Console& console);

}  // namespace cowvet::cli
