// The first cluster of an image that lost it, by an image that was made like it (`--template`). Promises: what the content told goes
// before what the template says, and a template that contradicts it is of no use.
#pragma once
#include <optional>
#include <vector>

#include "repair/draft.hpp"

namespace cowvet::repair {

// Nothing: no template was given, or it does not fit; then that is noted as withheld.
[[nodiscard]] std::optional<std::vector<std::byte>> header_by_model(Draft& draft);

}  // namespace cowvet::repair
