// The header extensions as a list that can be changed and written back where it was. Promises: extensions of
// any type keep their bytes; the area never reaches over the backing file's name.
#pragma once
#include <cstdint>
#include <optional>
#include <vector>

#include "format/extensions.hpp"
#include "repair/draft.hpp"

namespace cowvet::repair {

struct StoredExtension {
  std::uint32_t type = 0;
  std::vector<std::byte> data;
};

struct ExtensionList {
  std::vector<StoredExtension> list;
  bool whole = false;  // the list could be read up to its end

  [[nodiscard]] StoredExtension* find(format::ExtensionType type);
};

[[nodiscard]] ExtensionList read_extension_list(const Draft& draft);
// Writes the list with an end record; what the old one took behind it becomes zeros. False: there is no room.
[[nodiscard]] base::Result<bool> write_extension_list(Draft& draft, Action& action,
                                                      const ExtensionList& extensions);

}  // namespace cowvet::repair
