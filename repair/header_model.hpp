// The first cluster of an image that lost it, by an image that was made like it (`--template`). Promises:
// what the content told goes before what the template says, and a template that contradicts it is of no use.
#pragma once
#include <optional>
#include <vector>

#include "base/result.hpp"
#include "repair/draft.hpp"

namespace cowvet::repair {

// Nothing: no template was given. Error usage: it does not fit.
[[nodiscard]] base::Result<std::optional<std::vector<std::byte>>> header_by_model(const Draft& draft);

}  // namespace cowvet::repair
