// `-l`: an internal snapshot by id or name, or as snapshot.id=ID,snapshot.name=NAME.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "base/result.hpp"
#include "engine/qcow2_disk.hpp"

namespace cowvet::cli {

// What the engine calls the snapshot that `words` mean, an id or a name. Error usage: no such snapshot, a
// word that is not known.
[[nodiscard]] base::Result<std::string> meant_snapshot(std::string_view words,
                                                       const std::vector<engine::SnapshotInfo>& snapshots);

}  // namespace cowvet::cli
