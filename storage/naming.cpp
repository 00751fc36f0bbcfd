#include "storage/naming.hpp"

#include <filesystem>

namespace cowvet::storage {

bool has_protocol(std::string_view name) {
  const auto mark = name.find_first_of(":/");
  return mark != std::string_view::npos && name[mark] == ':';
}

std::string backing_path(std::string_view image, std::string_view backing_name) {
  if (backing_name.starts_with('/') || has_protocol(backing_name)) return std::string(backing_name);
  const auto slash = image.rfind('/');
  return std::string(image.substr(0, slash == std::string_view::npos ? 0 : slash + 1)) +
         std::string(backing_name);
}

std::string name_within(std::string_view image, std::string_view file) {
  namespace fs = std::filesystem;
  const fs::path there(file);
  const auto folder = fs::path(image).parent_path();
  if (folder == there.parent_path()) {
    auto name = there.filename().string();
    return has_protocol(name) ? "./" + name : name;  // "disk:1" would be a protocol
  }
  if (there.is_absolute() || folder.is_absolute()) return fs::absolute(there).string();
  auto name = (folder.empty() ? there : there.lexically_relative(folder)).string();
  if (name.empty()) return fs::absolute(there).string();  // the image lies above the folder we are in
  return has_protocol(name) ? "./" + name : name;
}

}  // namespace cowvet::storage
