// What the snapshot table still holds behind an entry that was overwritten. Promises: an entry counts only
// when all of it reads soundly and something sound, or nothing, follows it.
#pragma once
#include <vector>

#include "format/snapshot.hpp"
#include "repair/draft.hpp"

namespace cowvet::repair {

[[nodiscard]] std::vector<format::Snapshot> entries_behind_damage(const Draft& draft);

}  // namespace cowvet::repair
