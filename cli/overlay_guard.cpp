#include "cli/overlay_guard.hpp"

#include <algorithm>

#include <fmt/format.h>

#include "analyzer/overlays.hpp"
#include "base/text.hpp"
#include "cli/console.hpp"
#include "cli/image_options.hpp"
#include "cli/new_image.hpp"
#include "cli/program.hpp"
#include "storage/directory.hpp"
#include "storage/path_state.hpp"

namespace cowvet::cli {

namespace {

constexpr std::size_t most_named = 8;

// The overlays on `file` in its own folder, which may be closed to us though the image isn't, and in those
// that were asked for: what was asked for has to be done, or fails.
base::Result<std::vector<std::string>> overlays_on(const std::string& file, const OverlayGuard& guard) {
  auto folders = guard.folders;
  folders.insert(folders.begin(), analyzer::folder_of(file));
  auto overlays = analyzer::find_overlays(file, folders);
  if (overlays) return overlays;
  const auto own = storage::list_folder(folders.front());
  if (own) return overlays;
  if (own.error().kind == base::ErrorKind::io)  // otherwise it is not there, and the verb will say so
    Console::write_stderr(fmt::format(
        "cowvet: {}: warning: whether overlays stand on it is not known, since its folder can't be "
        "looked through: {}\n",
        base::escape(file), own.error().message));
  return analyzer::find_overlays(file, guard.folders);
}

std::string named(const std::vector<std::string>& files) {
  std::string names;
  for (std::size_t i = 0; i < files.size() && i < most_named; ++i)
    names += fmt::format("{}'{}'", i == 0 ? "" : ", ", base::escape(files[i]));
  if (files.size() > most_named) names += fmt::format(" and {} more", files.size() - most_named);
  return names;
}

// What was merged into an image stands on it still, as far as headers say. Only that it was written before tells.
std::string older_than(const std::string& file, std::vector<std::string> overlays) {
  const auto changed = storage::look_at(file).modified;
  std::erase_if(overlays, [&](const auto& overlay) { return storage::look_at(overlay).modified >= changed; });
  if (overlays.empty()) return {};
  return fmt::format(
      " ({} last written before the image was: what has been merged into it is invalid "
      "already, and can be removed)",
      named(overlays));
}

}  // namespace

void OverlayGuard::add_to(Arguments& arguments, bool with_force) {
  if (stands_in()) return;
  arguments.texts("--search", folders, "FOLDER",
                  "Also look here for overlays on the image, not only in its own folder; repeatable");
  if (with_force)
    arguments.flag("--force", force, "Change the image even if overlays on it show its content too");
}

base::Result<std::vector<std::string>> overlays_apart(const std::string& file, const OverlayGuard& guard,
                                                      std::span<const std::string> apart) {
  auto overlays = overlays_on(file, guard);
  if (overlays)
    std::erase_if(*overlays, [&](const std::string& overlay) {
      return std::ranges::any_of(apart, [&](const std::string& one) { return same_file(one, overlay); });
    });
  return overlays;
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
  auto overlays = overlays_apart(file, guard, apart);
  if (!overlays) return std::unexpected(std::move(overlays.error()));
  if (overlays->empty()) return {};
  return base::fail(
      base::ErrorKind::usage,
      fmt::format("{} on it, and would show other content: {}: change a new overlay instead (cowvet create "
                  "-b), or add --force{}",
                  overlays->size() == 1 ? "an overlay stands" : "overlays stand", named(*overlays),
                  older_than(file, *overlays)));
}

}  // namespace cowvet::cli
