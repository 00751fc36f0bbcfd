// Which image format a file begins as: what programs that probe go by. Promises: only the bytes given are looked at.
#pragma once
#include <string_view>

#include "base/bytes.hpp"

namespace cowvet::analyzer {

// QEMU's name of the format; "" when the bytes are no known format's, which programs then take for raw.
[[nodiscard]] std::string_view format_by_magic(base::ConstBytes first_bytes);

}  // namespace cowvet::analyzer
