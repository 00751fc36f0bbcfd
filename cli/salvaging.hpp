// What `cowvet salvage` does: reads an image as well as it can be understood, and writes what it holds into new files.
// Promises: the image is only read; an output is there whole or not at all, and replaces nothing; an earlier
// one that is gone on with gains what can be read now, and loses nothing.
#pragma once
#include <optional>
#include <string>

#include "base/progress.hpp"
#include "base/result.hpp"
#include "cli/console.hpp"
#include "cli/disks.hpp"
#include "reports/salvage.hpp"

namespace cowvet::cli {

struct SalvageRequest {
  std::string image, out;
  std::string format = "qcow2";        // of what is made
  std::string snapshots = "internal";  // or "files", "none"
  std::string map;                     // where the maps go; "": nowhere
  bool resume = false;  // the outputs and maps are an earlier run's: what was lost is tried again
  std::uint64_t retries = 2;
  bool layer_only = false;  // raw: what lies below is not read
  bool flatten = false;     // qcow2: what lies below is copied as well
  bool assume_qcow2 = false, compress = false, decrypt = false;
  bool progress = false, quiet = false;
  DiskWords disk;
};

// Errors begin with the file that they are about.
[[nodiscard]] base::Result<reports::SalvageReport> salvage_image(const SalvageRequest& request);

}  // namespace cowvet::cli
