// A finding's place and evidence in one line for a person.
#pragma once
#include <string>

#include "findings/finding.hpp"

namespace cowvet::reports {

enum class PlaceDetail : std::uint8_t {
  some,  // the first few guest ranges and owners, the rest counted
  all,
};

// "l1[3]: file 0x30018..0x30020 (8 B); guest 0x60000000..0x80000000 (512 MiB); found 0x8000000900000". Plain text.
[[nodiscard]] std::string place(const findings::Finding& finding, PlaceDetail detail);

// "guest 0x50000..0x60000 (64 KiB) of snapshot '1'".
[[nodiscard]] std::string describe(const findings::GuestRange& guest);

}  // namespace cowvet::reports
