// JSON: qemu-img's keys with qemu-img's meanings, and everything else that is known. Described by reports/schemas/.
// Promises: the order of keys is fixed, the same value gives the same bytes, and the result is valid JSON whatever
// bytes names hold: in qemu-img's keys what is no UTF-8 becomes U+FFFD, elsewhere base::escape is used.
#pragma once
#include <span>
#include <string>

#include "reports/report.hpp"

namespace cowvet::reports {

// One image: an object. Several: an array, in the order given. Ends with a line end.
[[nodiscard]] std::string json(std::span<const Report> reports);

}  // namespace cowvet::reports
