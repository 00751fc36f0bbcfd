#include "storage/naming.hpp"

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

}  // namespace cowvet::storage
