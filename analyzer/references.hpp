// What the first bytes of a file say of other files: quick, for looking through whole folders. Promises: a few KiB are
// read, the rest of the first cluster only when the names lie there; damage gives fewer names, never an error.
#pragma once
#include <cstdint>
#include <optional>
#include <string>

#include "storage/device.hpp"

namespace cowvet::analyzer {

struct References {
  std::optional<std::string> backing_name, backing_format, data_file_name;  // raw bytes
};

// Nothing: the file is no qcow2 image, or its header can't be used.
[[nodiscard]] std::optional<References> read_references(const storage::Device& device);

// The path that a name of another file leads to, as QEMU resolves it: `file` is the image's own path. Nothing
// when it is not a local file, or is named by json: with more than a file's name.
[[nodiscard]] std::optional<std::string> backing_file_path(const std::string& file, const std::string& name);

}  // namespace cowvet::analyzer
