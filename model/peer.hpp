// Another program that speaks qemu-img's language, under examination beside the model: what it writes is read by the
// engine, and what the engine writes by it. Promises: what lies in its folder is all that it is given; a program that
// can't be run is an error, never a disagreement; nothing is started here but through the function that is handed in.
#pragma once
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "model/examine.hpp"

namespace cowvet::model {

class Peer {
 public:
  struct Programs {
    std::string image, io;  // as words of a shell
  };
  // Runs a line of a shell in the folder; nothing when it ended well, else what it said. Error: it could not be run.
  using Run = std::function<base::Result<std::optional<std::string>>(const std::string& line)>;

  Peer(std::filesystem::path folder, Programs programs, Run run)
      : folder_(std::move(folder)), programs_(std::move(programs)), run_(std::move(run)) {}

  // The sequence done by the programs, of which `scope` says what they can do. What they left must read as
  // the model says, for the engine and for themselves,
  // and the check must find nothing.
  [[nodiscard]] Outcome does(const Sequence& sequence, Scope scope = Scope::peer);
  // What the programs have against a chain that the engine made; empty for nothing.
  [[nodiscard]] std::string against(const EngineChain::Files& files, const Model& model, bool leaks);

 private:
  using Said = std::optional<std::string>;

  [[nodiscard]] base::Result<void> empty_folder();
  // What they read of an image and its snapshots, if that is something else.
  [[nodiscard]] base::Result<Said> reads_otherwise(const Model& model, std::size_t image);
  [[nodiscard]] base::Result<std::optional<Disagreement>> judge(const Model& model, std::size_t image,
                                                                KnownCounts& met);
  [[nodiscard]] base::Result<std::optional<Disagreement>> judge(const Model& model, KnownCounts& met);

  std::filesystem::path folder_;
  Programs programs_;
  Run run_;
};

}  // namespace cowvet::model
