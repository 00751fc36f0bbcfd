// Damages an image where it hurts. Promises: finds the structures that the image's own header leads to, by the field
// tables of format/, and changes one field, or one part of a bit word, to a value that tends to be handled wrongly; the
// same seed makes the same change; work is bounded whatever the image says.
#pragma once
#include <cstddef>
#include <cstdint>
#include <optional>

#include "base/bytes.hpp"

namespace cowvet::fuzz {

// The first `size` bytes of `buffer` are an input as sparse_input.hpp describes. Returns its new size; nothing when the
// input was left as it is because nothing in it was found or there is no room.
[[nodiscard]] std::optional<std::size_t> mutate_structure(base::MutableBytes buffer, std::size_t size,
                                                          unsigned seed);

// libFuzzer's custom mutator for inputs that are images: three changes in four are of a structure, the others of any
// byte.
[[nodiscard]] std::size_t mutate_image(std::uint8_t* data, std::size_t size, std::size_t room, unsigned seed);

}  // namespace cowvet::fuzz
