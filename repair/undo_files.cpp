#include "repair/undo_files.hpp"

#include <algorithm>
#include <charconv>
#include <chrono>
#include <filesystem>
#include <optional>
#include <utility>

#include <fmt/format.h>

#include "base/text.hpp"
#include "storage/directory.hpp"
#include "storage/file.hpp"
#include "storage/link.hpp"
#include "storage/new_file.hpp"
#include "storage/path_state.hpp"

namespace cowvet::repair {

namespace {

namespace fs = std::filesystem;

constexpr std::string_view suffix = ".cowvet-undo";

// The undo files' name without a number.
std::string first_name(const std::string& image) {
  const auto real = fs::path(storage::real_path(image).value_or(image));
  if (storage::look_at(image).kind == storage::PathState::Kind::block_device)
    return fs::path(image).filename().string() + std::string(suffix);
  // A name without links stays as short as it was given.
  const fs::path given(image);
  const bool same = fs::absolute(given).lexically_normal() == real;
  return (same ? given : real).string() + std::string(suffix);
}

std::string folder_of(const std::string& file) {
  const auto folder = fs::path(file).parent_path().string();
  return folder.empty() ? "." : folder;
}

// 1 for the first undo file, 2 for "….2"; nothing for other names.
std::optional<std::uint64_t> number_of(std::string_view name, std::string_view first) {
  if (!name.starts_with(first)) return std::nullopt;
  name.remove_prefix(first.size());
  if (name.empty()) return 1;
  if (name[0] != '.') return std::nullopt;
  name.remove_prefix(1);
  std::uint64_t number = 0;
  const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), number);
  if (error != std::errc{} || end != name.data() + name.size() || number < 2) return std::nullopt;
  return number;
}

using Numbered = std::vector<std::pair<std::uint64_t, std::string>>;

// Undo files with their numbers, the highest first.
struct Named {
  Numbered files, lost;  // lost: links to undo files that are not there
};

base::Result<Named> named_after(const std::string& first) {
  const auto folder = folder_of(first);
  const auto listed = storage::list_folder(folder);
  if (!listed) {
    auto error = listed.error();
    error.message = fmt::format("undo files are looked for in '{}': {}", base::escape(folder), error.message);
    return std::unexpected(std::move(error));
  }
  const auto plain = fs::path(first).filename().string();
  const auto numbered = [&](const std::vector<std::string>& names) {
    Numbered found;
    for (const auto& name : names)
      if (const auto number = number_of(name, plain))
        found.emplace_back(*number, (fs::path(first).parent_path() / name).string());
    std::ranges::sort(found, std::greater{});
    return found;
  };
  return Named{numbered(listed->files), numbered(listed->lost)};
}

// The folder itself, links followed.
std::optional<std::string> real_folder(const std::string& file) {
  return storage::real_path(folder_of(file));
}

// A link among the image's undo files that leads to one elsewhere; none where it would be found anyway, or where no
// link can be made, as in a folder that may only be read.
std::string link_to_elsewhere(const std::string& image, const std::string& undo_file) {
  const auto known = undo_files_of(image);
  const auto target = storage::real_path(undo_file);
  if (!known || !target) return {};
  if (std::ranges::any_of(*known, [&](const auto& name) { return storage::real_path(name) == target; }))
    return {};
  auto link = new_undo_file(image);
  if (!link || !storage::make_link(*link, *target)) return {};
  return std::move(*link);
}

}  // namespace

base::Result<std::vector<std::string>> undo_files_of(const std::string& image) {
  auto named = named_after(first_name(image));
  if (!named) return std::unexpected(std::move(named.error()));
  std::vector<std::string> names;
  for (auto& [number, name] : named->files) names.push_back(std::move(name));
  return names;
}

base::Result<std::string> new_undo_file(const std::string& image) {
  const auto first = first_name(image);
  const auto named = named_after(first);
  if (!named) return std::unexpected(named.error());
  std::uint64_t highest = 0;
  for (const auto* taken : {&named->files, &named->lost})
    if (!taken->empty()) highest = std::max(highest, taken->front().first);
  return highest == 0 ? first : fmt::format("{}.{}", first, highest + 1);
}

base::Result<std::vector<std::string>> interrupted_undo_files(const std::string& image) {
  const auto named = named_after(first_name(image));
  if (!named) return std::unexpected(named.error());
  if (!named->lost.empty())
    return base::fail(
        base::ErrorKind::not_found,
        fmt::format("a repair was interrupted, and the link '{}' leads to its undo file, which is not "
                    "there: bring it back, or remove the link when the image is not to be taken back",
                    base::escape(named->lost.front().second)));
  std::vector<std::string> found;
  for (const auto& [number, name] : named->files) {
    const auto about = [&](base::Error error) {
      error.message =
          fmt::format("its undo file '{}': {}; move it away when the image is not to be taken back",
                      base::escape(name), error.message);
      return std::unexpected(std::move(error));
    };
    const auto device = storage::open_file(name);
    if (!device) return about(device.error());
    const auto reader = UndoReader::open(**device);
    if (!reader) return about(reader.error());
    if (interrupted(reader->info().state)) found.push_back(name);
  }
  return found;
}

std::string image_of(const std::string& undo_file, const std::string& stored) {
  const fs::path folder = fs::path(undo_file).parent_path();
  auto named = (folder / stored).string();  // an absolute name stays as it is
  if (storage::look_at(named).kind != storage::PathState::Kind::missing) return named;
  auto beside = (folder / fs::path(stored).filename()).string();
  return storage::look_at(beside).kind != storage::PathState::Kind::missing ? beside : named;
}

UndoIdentity identity_of(const std::string& image, const std::string& undo_file, std::string cause) {
  const auto seconds =
      std::chrono::duration_cast<std::chrono::seconds>(std::chrono::system_clock::now().time_since_epoch());
  const auto real = storage::real_path(image).value_or(fs::absolute(image).string());
  const bool device = storage::look_at(image).kind == storage::PathState::Kind::block_device;
  const bool beside = !device && real_folder(undo_file) == real_folder(real);
  // A block device's own name may change with the next start of the machine; the name that was given is a better one.
  const auto name = device   ? fs::absolute(image).string()
                    : beside ? fs::path(real).filename().string()
                             : real;
  return {.image = name,
          .undo_file = fs::path(undo_file).filename().string(),
          .cause = std::move(cause),
          .made = static_cast<std::uint64_t>(std::max<std::int64_t>(seconds.count(), 0))};
}

base::Result<Applied> apply_to_file(const std::string& image, storage::Device& device,
                                    const storage::Overlay& wanted, const std::string& undo_file,
                                    std::string cause, base::Progress& progress) {
  const auto about = [&](base::Error error) {
    error.message = fmt::format("the undo file '{}': {}", base::escape(undo_file), error.message);
    return std::unexpected(std::move(error));
  };
  auto file = storage::NewFile::begin(undo_file);
  if (!file) return about(file.error());
  std::string link;
  const auto publish = [&]() -> base::Result<void> {
    auto published = (*file)->publish();
    if (!published) return about(published.error());
    link = link_to_elsewhere(image, undo_file);
    return published;
  };
  auto applied = apply(device, wanted, (*file)->device(), identity_of(image, undo_file, std::move(cause)),
                       publish, progress);
  if (!link.empty()) {
    const auto reader = UndoReader::open((*file)->device());
    if (reader && !interrupted(reader->info().state)) storage::remove_link(link);
  }
  return applied;
}

}  // namespace cowvet::repair
