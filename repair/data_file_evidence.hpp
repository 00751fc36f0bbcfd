// Whether the tables of an image whose header was lost are of one with an external data file.
#pragma once
#include <optional>

#include "repair/draft.hpp"

namespace cowvet::repair {

// Each cluster of a data file lies where the guest has it, so all tables name places in step with their entries, and
// some of them lie behind the end of this file. The size that the disk has at least, bytes; nothing when it is another
// image's.
[[nodiscard]] std::optional<std::uint64_t> disk_in_data_file(const Draft& draft);

}  // namespace cowvet::repair
