#include "cli/overlay_guard.hpp"

#include <algorithm>

#include <fmt/format.h>

#include "analyzer/overlays.hpp"
#include "base/text.hpp"
#include "cli/image_options.hpp"
#include "cli/new_image.hpp"
#include "cli/program.hpp"

namespace cowvet::cli {

namespace {

constexpr std::size_t most_named = 8;

}  // namespace

void OverlayGuard::add_to(Arguments& arguments, bool with_force) {
  if (stands_in()) return;
  arguments.texts("--search", folders, "FOLDER",
                  "Also look here for overlays on the image, not only in its own folder; repeatable");
  if (with_force)
    arguments.flag("--force", force, "Change the image even if overlays on it show its content too");
}

base::Result<void> refuse_with_overlays(const std::string& image, bool image_options,
                                        const OverlayGuard& guard, std::span<const std::string> apart) {
  if (stands_in() || guard.force) return {};
  std::string file = image;
  if (image_options) {
    auto list = parse_image_options(image);
    if (!list) return std::unexpected(std::move(list.error()));
    file = std::move(list->file);
  }
  auto folders = guard.folders;
  folders.insert(folders.begin(), analyzer::folder_of(file));
  auto overlays = analyzer::find_overlays(file, folders);
  if (!overlays) {
    // The image's own folder may be closed to us though the image isn't; what was asked for has to be done.
    if (guard.folders.empty()) return {};
    return std::unexpected(overlays.error());
  }
  std::erase_if(*overlays, [&](const std::string& overlay) {
    return std::ranges::any_of(apart, [&](const std::string& one) { return same_file(one, overlay); });
  });
  if (overlays->empty()) return {};
  std::string names;
  for (std::size_t i = 0; i < overlays->size() && i < most_named; ++i)
    names += fmt::format("{}'{}'", i == 0 ? "" : ", ", base::escape((*overlays)[i]));
  if (overlays->size() > most_named) names += fmt::format(" and {} more", overlays->size() - most_named);
  return base::fail(
      base::ErrorKind::usage,
      fmt::format("{} on it, and would show other content: {}: change a new overlay instead (cowvet create "
                  "-b), or add --force",
                  overlays->size() == 1 ? "an overlay stands" : "overlays stand", names));
}

}  // namespace cowvet::cli
