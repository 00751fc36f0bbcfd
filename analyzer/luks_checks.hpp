// The LUKS header's own fields, judged without the key.
#pragma once
#include <cstdint>
#include <optional>

#include "analyzer/image.hpp"

namespace cowvet::analyzer {

// Judges the LUKS header that lies at `at`; luks/* and security/kdf-cost.
void check_luks(Image& image, const format::Luks& luks, base::HostOffset at);

// Whether the bytes are a LUKS version 1 header at all; the other fields mean nothing otherwise.
[[nodiscard]] bool is_luks1(const format::Luks& luks);
// The payload's place, bytes from the LUKS header; nothing when it is impossible.
[[nodiscard]] std::optional<std::uint64_t> payload_of(const format::Luks& luks);
// Where the key material of a slot ends, bytes from the LUKS header; nothing when the slot's or the key's place or size
// is impossible.
[[nodiscard]] std::optional<std::uint64_t> key_material_end(const format::Luks& luks,
                                                            const format::LuksKeySlot& slot);

}  // namespace cowvet::analyzer
