// The main job: everything that can be said about one image without its key, its backing file or a write.
#pragma once
#include "analyzer/options.hpp"
#include "analyzer/verdict.hpp"
#include "base/progress.hpp"
#include "base/result.hpp"
#include "findings/collector.hpp"
#include "storage/device.hpp"

namespace cowvet::analyzer {

// The least Options::memory_limit that is kept to.
[[nodiscard]] std::uint64_t least_memory();

// Examines the image. Damage never makes this fail; an Error means that the check itself was stopped (cancelled, or
// a limit of this machine). `findings` decides how many findings are kept.
[[nodiscard]] base::Result<Verdict> check(const storage::Device& device, const Options& options,
                                          findings::Collector& findings, base::Progress& progress);

}  // namespace cowvet::analyzer
