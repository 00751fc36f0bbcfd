// What the check finds in an image that somebody made or changed: the analyzer as an oracle. Promises: a word for each
// finding that speaks against the maker, and nothing else.
#pragma once
#include <cstdint>
#include <string>

#include "storage/device.hpp"

namespace cowvet::model {

enum class Leaks : std::uint8_t {
  none,
  allowed,     // and with them a leaked L2 table whose content another table has too
  tables_too,  // any leaked table, as giving up a snapshot may leave
  // A table that only a snapshot names any more, counted for the disk too until that is counted down, looks as if a
  // snapshot that has nothing there had lost it.
  shared_tables_too,
};

// One line a finding, warnings left out; empty for none. `deep` reads all data too, with the external data file.
[[nodiscard]] std::string findings(const storage::Device& device, Leaks leaks = Leaks::none,
                                   bool deep = false, const storage::Device* data_file = nullptr);

}  // namespace cowvet::model
