// Text inside XML and HTML. Promises: the result has no markup of its own and no character that XML forbids.
#pragma once
#include <string>
#include <string_view>

namespace cowvet::reports {

// `text` is made plain with base::escape first, so any bytes may come in.
[[nodiscard]] std::string markup_safe(std::string_view text);

}  // namespace cowvet::reports
