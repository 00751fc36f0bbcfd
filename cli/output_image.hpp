// A new image that is there whole or not at all, for verbs whose sources may be damaged. Promises: it
// replaces nothing; what was not published leaves nothing behind.
#pragma once
#include <memory>
#include <string>

#include "base/progress.hpp"
#include "base/result.hpp"
#include "engine/chain.hpp"
#include "engine/create.hpp"
#include "storage/new_file.hpp"

namespace cowvet::cli {

struct OutputImage {
  std::unique_ptr<storage::NewFile> made;
  std::unique_ptr<engine::OpenImage> image;  // open for writing, without what lies below

  // Ends the image properly and gives the file its name.
  [[nodiscard]] base::Result<void> publish();
};

// An empty disk of the size in `options`; of those, a raw one (`format`) takes nothing else.
[[nodiscard]] base::Result<OutputImage> make_output(const std::string& file, const std::string& format,
                                                    const engine::CreateOptions& options,
                                                    base::Progress& progress);

}  // namespace cowvet::cli
