// The names that images call other files by, as QEMU understands them. Promises: nothing is opened, nothing
// is normalised.
#pragma once
#include <string>
#include <string_view>

namespace cowvet::storage {

// Whether QEMU takes the name's beginning for a protocol: "nbd://host", "json:{...}", "file:disk".
[[nodiscard]] bool has_protocol(std::string_view name);

// The name under which an image's backing file is opened: relative ones start where the image lies. `image`
// is the image's name as it was opened.
[[nodiscard]] std::string backing_path(std::string_view image, std::string_view backing_name);

// A name under which `image` can store `file`, both named as the program would open them: relative where both are. Made
// of the names alone: where a folder's link leads is not looked at.
[[nodiscard]] std::string name_within(std::string_view image, std::string_view file);

}  // namespace cowvet::storage
