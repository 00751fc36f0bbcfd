// The verbs below `damage:`: changes to the bytes of a built image. Promises: each does what its line says and nothing
// else; no count, flag or table follows.
#pragma once
#include "corpus/builder/image.hpp"
#include "corpus/builder/scanner.hpp"

namespace cowvet::corpus {

[[nodiscard]] bool is_damage(std::string_view verb);

// Applies one line of damage. Throws Complaint.
void apply_damage(std::string_view line, Built& built);

}  // namespace cowvet::corpus
