// Where the LUKS header of an image is, by its content.
#pragma once
#include <optional>

#include "format/extensions.hpp"
#include "repair/draft.hpp"

namespace cowvet::repair {

// The only cluster of the file that begins as a LUKS header does, with the length that it takes; nothing when there is
// none, or more than one.
[[nodiscard]] std::optional<format::EncryptionExtension> find_luks_region(const Draft& draft);

}  // namespace cowvet::repair
