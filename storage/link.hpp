// Symbolic links that lead from one file to another. Promises: nothing is replaced; what was made is durable.
#pragma once
#include <string>

#include "base/result.hpp"

namespace cowvet::storage {

// Makes `link`, which leads to `target`. Errors: usage, when the name is taken; io otherwise, and nothing is
// there then.
[[nodiscard]] base::Result<void> make_link(const std::string& link, const std::string& target);

// Removes it, if it is a link; anything else stays.
void remove_link(const std::string& link);

}  // namespace cowvet::storage
