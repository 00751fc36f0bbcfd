// A raw image as a disk: byte n of the file is byte n of the disk. A file whose length is no multiple of 512
// reads as zeros up to the next one.
#pragma once
#include <memory>

#include "engine/disk.hpp"
#include "storage/device.hpp"

namespace cowvet::engine {

// `device` must outlive the disk.
[[nodiscard]] std::unique_ptr<Disk> open_raw(storage::Device& device, bool writable);

}  // namespace cowvet::engine
