#include "analyzer/backing_place.hpp"

#include <string_view>
#include <utility>

#include "storage/naming.hpp"

namespace cowvet::analyzer {

BackingPlace backing_place(const std::string& image, const std::string& backing_name) {
  using Kind = BackingPlace::Kind;
  constexpr std::string_view file = "file:";
  if (backing_name.starts_with("json:")) return {Kind::json, backing_name};
  if (backing_name.starts_with(file)) {
    auto name = backing_name.substr(file.size());
    // A file's name to the letter, even where it looks like another protocol: said as QEMU does.
    return {Kind::file, storage::has_protocol(name) ? "./" + name : std::move(name)};
  }
  auto path = storage::backing_path(image, backing_name);
  const bool protocol = storage::has_protocol(path);
  return {protocol ? Kind::protocol : Kind::file, std::move(path)};
}

}  // namespace cowvet::analyzer
