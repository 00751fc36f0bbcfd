// Which images have a given file as their backing file. Promises: only the first bytes of each file in the folders are
// read; names are resolved as QEMU does, and files compared by what they are and not by their names; what can't be
// opened or is no qcow2 image is passed over.
#pragma once
#include <span>
#include <string>
#include <vector>

#include "base/result.hpp"

namespace cowvet::analyzer {

// The overlays directly on `base`, in the folders' and the names' order; each file once. A missing base has none.
// Errors: a folder that can't be listed.
[[nodiscard]] base::Result<std::vector<std::string>> find_overlays(const std::string& base,
                                                                   std::span<const std::string> folders);

// The folder that a file lies in, as it is named: "." for a bare name.
[[nodiscard]] std::string folder_of(const std::string& file);

}  // namespace cowvet::analyzer
