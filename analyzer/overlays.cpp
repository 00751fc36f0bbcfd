#include "analyzer/overlays.hpp"

#include <set>
#include <utility>

#include <fmt/format.h>

#include "analyzer/references.hpp"
#include "base/text.hpp"
#include "storage/directory.hpp"
#include "storage/file.hpp"
#include "storage/path_state.hpp"

namespace cowvet::analyzer {

namespace {

using storage::PathState;
using Same = std::pair<std::uint64_t, std::uint64_t>;  // device and inode

Same same(const PathState& state) { return {state.device, state.inode}; }

bool stands_on(const std::string& file, const PathState& base) {
  const auto device = storage::open_file(file);
  if (!device) return false;
  const auto references = read_references(**device);
  if (!references || !references->backing_name) return false;
  const auto path = backing_file_path(file, *references->backing_name);
  if (!path) return false;
  const auto below = storage::look_at(*path);
  return below.kind != PathState::Kind::missing && same(below) == same(base);
}

}  // namespace

base::Result<std::vector<std::string>> find_overlays(const std::string& base,
                                                     std::span<const std::string> folders) {
  std::vector<std::string> found;
  const auto state = storage::look_at(base);
  if (state.kind == PathState::Kind::missing) return found;
  std::set<Same> seen;
  for (const auto& folder : folders) {
    auto list = storage::list_folder(folder);
    if (!list) {
      list.error().message = fmt::format("folder '{}': {}", base::escape(folder), list.error().message);
      return std::unexpected(std::move(list.error()));
    }
    for (const auto& name : list->files) {
      auto file = folder == "." ? name : fmt::format("{}/{}", folder, name);
      if (stands_on(file, state) && seen.insert(same(storage::look_at(file))).second)
        found.push_back(std::move(file));
    }
  }
  return found;
}

std::string folder_of(const std::string& file) {
  const auto slash = file.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : file.substr(0, slash);
}

}  // namespace cowvet::analyzer
