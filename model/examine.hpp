// One sequence done to the engine and to the model, compared after every operation. Promises: the first disagreement
// ends it, and is told with the operation and the oracle that saw it; the same sequence gives the same outcome.
#pragma once
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "model/engine_chain.hpp"
#include "model/model.hpp"

namespace cowvet::model {

enum class Oracle : std::uint8_t {
  refused,    // the engine could not do what the model can, or ended with an exception
  content,    // the disk reads as something else
  snapshot,   // a snapshot does
  extent,     // what is said to be held, or to be zero, is not
  bitmap,     // a bitmap does not mark what was written
  data_file,  // a raw data file is not the disk
  below,      // a file below the top was changed
  check,      // the check finds something
  peer,       // another program reads something else, or finds something
};
[[nodiscard]] std::string_view name_of(Oracle oracle);

struct Disagreement {
  Oracle oracle = Oracle::content;
  std::string what;
};

struct Outcome {
  std::uint64_t operations = 0;  // done, the last of them with the disagreement if there is one
  std::optional<Disagreement> disagreement;
  KindCounts kinds{};                // the operations again
  KnownCounts met{};                 // known differences that operations would have met
  std::optional<base::Error> error;  // nothing was examined: what is needed for that failed
};

struct Examination {
  Scope scope = Scope::all;
  std::uint64_t check_every = 8;  // operations; the image is flushed for it, and closed every other time
  // Asked when the image is closed, at the end of a sequence at least: what another program has against it.
  // `leaks`: the image has some, since it was not closed properly before.
  std::function<std::string(const EngineChain::Files& files, const Model& model, bool leaks)> peer = {};
};

[[nodiscard]] Outcome examine(const Sequence& sequence, const Examination& how);

}  // namespace cowvet::model
