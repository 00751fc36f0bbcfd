#include "cli/snapshot_words.hpp"

#include <algorithm>
#include <optional>

#include <fmt/format.h>

#include "base/text.hpp"
#include "cli/creation.hpp"

namespace cowvet::cli {

base::Result<std::string> meant_snapshot(std::string_view words,
                                         const std::vector<engine::SnapshotInfo>& snapshots) {
  using base::ErrorKind;
  if (!words.starts_with("snapshot.")) return std::string(words);
  std::optional<std::string> id, name;
  for (const auto& [key, value] : split_options(words)) {
    if (key == "snapshot.id")
      id = value;
    else if (key == "snapshot.name")
      name = value;
    else
      return base::fail(
          ErrorKind::usage,
          fmt::format("-l: '{}' is not known: use snapshot.id and snapshot.name", base::escape(key)));
  }
  const auto found = std::ranges::find_if(
      snapshots, [&](const auto& s) { return (!id || s.id == *id) && (!name || s.name == *name); });
  if (found == snapshots.end())
    return base::fail(ErrorKind::usage, fmt::format("there is no snapshot '{}'", base::escape(words)));
  return found->id;
}

}  // namespace cowvet::cli
