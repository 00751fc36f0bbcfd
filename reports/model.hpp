// What holding a program against the reference model gave: `model`.
#pragma once
#include <cstdint>
#include <string>

#include "model/generate.hpp"

namespace cowvet::reports {

struct ModelReport {
  std::string engine;   // "cowvet", or the other program's path
  std::string version;  // what it says of itself
  std::string profile;
  std::uint64_t seed = 0;
  bool stopped = false;  // before all that was asked for was done
  const model::Searched& searched;
};

// With the script that reproduces a disagreement.
[[nodiscard]] std::string model_text(const ModelReport& report);
// An object; schemas/model.json describes it.
[[nodiscard]] std::string model_json(const ModelReport& report);

}  // namespace cowvet::reports
