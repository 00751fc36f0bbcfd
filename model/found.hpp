// What the check finds in an image that somebody made or changed: the analyzer as an oracle. Promises: a word for each
// finding that speaks against the maker, and nothing else.
#pragma once
#include <cstdint>
#include <string>

#include "storage/device.hpp"

namespace cowvet::model {

enum class Leaks : std::uint8_t {
  none,
  allowed,  // what a crash may leave: nothing above severity leak
};

// One line a finding, warnings left out; empty for none. `deep` reads all data too, with the external data file.
[[nodiscard]] std::string findings(const storage::Device& device, Leaks leaks = Leaks::none,
                                   bool deep = false, const storage::Device* data_file = nullptr);

}  // namespace cowvet::model
