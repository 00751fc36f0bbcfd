// What was salvaged of an image: for a person and as JSON, described by reports/schemas/salvage.json.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "repair/salvage.hpp"
#include "reports/text.hpp"

namespace cowvet::reports {

struct SalvageReport {
  struct Entry {
    std::string file;  // that it is in
    repair::SalvagedLayer layer;
  };
  std::string file, out;
  std::string backing;                  // the backing file, where it could be opened
  std::vector<Entry> layers;            // the active one first
  std::vector<std::string> inferences;  // what was put right to read the image, a sentence each
  std::vector<std::string> notes;       // what else a person should know
  bool snapshots_complete = true;       // the snapshot table could be read to its end
  std::uint64_t recovered = 0;          // failing reads that succeeded when tried again

  [[nodiscard]] std::uint64_t bytes(repair::Fate fate) const;
  [[nodiscard]] bool loses() const;
  [[nodiscard]] bool infers() const { return bytes(repair::Fate::inferred) != 0 || !inferences.empty(); }
};

[[nodiscard]] std::string salvage_text(const SalvageReport& report, const TextOptions& options);
[[nodiscard]] std::string salvage_json(const SalvageReport& report);

}  // namespace cowvet::reports
