// Copying a disk. Promises: when it ends well, the target reads as the source; reading, looking for zeros and
// compressing go on on several threads, while the target is written in the order of the disk; memory is
// bounded whatever the sizes are; the first error in the order of the disk is the one that is told.
#pragma once
#include <cstdint>
#include <functional>
#include <shared_mutex>
#include <string>

#include "base/progress.hpp"
#include "base/result.hpp"
#include "engine/copy_source.hpp"
#include "engine/disk.hpp"
#include "engine/qcow2_disk.hpp"

namespace cowvet::engine {

struct CopyTarget {
  Disk& disk;                       // at least as long as the source
  std::string name;                 // errors of writing begin with it
  bool reads_zero = false;          // where nothing is written, it reads as zeros
  Qcow2Disk* compressed = nullptr;  // the same disk, when clusters are to be written compressed
  const Disk* below = nullptr;      // what it shows where nothing is written, for runs that are compared
  // Held while the target is changed: by it a source that looks at the target as well keeps out of the way.
  std::shared_mutex* changing = nullptr;
};

struct CopyOptions {
  // Zeros of at least so many bytes (a multiple of 512) are not stored as data; 0: all zeros are. Compressed
  // clusters are looked at whole.
  std::uint64_t zero_unit = 4096;
  unsigned jobs = 0;       // threads; 0: as many as there are cores
  std::uint64_t rate = 0;  // bytes read a second at most; 0: no limit
  // Called for ranges that can't be read, in order and without overlap, when all is copied: the target has zeros there.
  // Without it, the first such range ends the copy.
  std::function<void(std::uint64_t at, std::uint64_t length, const std::string& why)> lost = {};
};

// Errors: those of reading as the source words them, those of writing with the target's name; cancelled. The
// target is then written in part.
[[nodiscard]] base::Result<void> copy_disk(CopySource& source, const CopyTarget& target,
                                           const CopyOptions& options, base::Progress& progress);

}  // namespace cowvet::engine
