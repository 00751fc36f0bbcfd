// What a folder holds. Promises: nothing in it is opened; what is no image file (a pipe, a device, a socket)
// is left out; the order is that of the names, whatever the file system's is.
#pragma once
#include <string>
#include <vector>

#include "base/result.hpp"

namespace cowvet::storage {

struct Folder {
  std::vector<std::string> files;  // names in the folder: regular files, and links that lead to such
  std::vector<std::string> lost;   // names in the folder: links that lead nowhere
  std::vector<std::string>
      folders;  // names in the folder; links to folders are left out: they may lead in circles
};

// Errors: not_found; usage, when it is no folder; io otherwise.
[[nodiscard]] base::Result<Folder> list_folder(const std::string& path);

}  // namespace cowvet::storage
