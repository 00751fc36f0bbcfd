#include "storage/directory.hpp"

#include <algorithm>
#include <filesystem>
#include <system_error>

#include "storage/descriptor.hpp"

namespace cowvet::storage {

base::Result<Folder> list_folder(const std::string& path) {
  using base::ErrorKind;
  namespace fs = std::filesystem;
  std::error_code error;
  fs::directory_iterator at(path, error);
  Folder folder;
  for (; !error && at != fs::directory_iterator(); at.increment(error)) {
    std::error_code unseen;  // what can't be looked at has vanished meanwhile
    if (at->is_regular_file(unseen))
      folder.files.push_back(at->path().filename().string());
    else if (at->is_symlink(unseen) && !fs::exists(at->path(), unseen))
      folder.lost.push_back(at->path().filename().string());
    else if (!at->is_symlink(unseen) && at->is_directory(unseen))
      folder.folders.push_back(at->path().filename().string());
  }
  if (error == std::errc::no_such_file_or_directory)
    return base::fail(ErrorKind::not_found, "no such folder: check the name", error.value());
  if (error == std::errc::not_a_directory)
    return base::fail(ErrorKind::usage, "is no folder: name one", error.value());
  if (error) return std::unexpected(system_error("listing the folder", error.value()));
  std::ranges::sort(folder.files);
  std::ranges::sort(folder.lost);
  std::ranges::sort(folder.folders);
  return folder;
}

}  // namespace cowvet::storage
