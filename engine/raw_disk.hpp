// A raw image as a disk: byte n of the file is byte n of the disk. A file whose length is no multiple of 512
// reads as zeros up to the next one.
#pragma once
#include <memory>

#include "base/progress.hpp"
#include "engine/disk.hpp"
#include "engine/qcow2_disk.hpp"
#include "storage/device.hpp"

namespace cowvet::engine {

// `device` must outlive the disk.
[[nodiscard]] std::unique_ptr<Disk> open_raw(storage::Device& device, bool writable);

// Makes the file as long as asked, to the byte. What is new reads as zeros; with a preallocation it takes its
// space, and `full` writes it, which `progress` counts. Errors: usage for metadata, which raw images don't
// have, and for a block device that would have to change its size; cancelled, and others, leave the file as
// long as it was.
[[nodiscard]] base::Result<void> resize_raw(storage::Device& device, std::uint64_t size,
                                            Preallocation preallocation, base::Progress& progress);

}  // namespace cowvet::engine
