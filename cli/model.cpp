// cowvet model: does generated sequences of operations with cowvet's own engine, or with an installed qemu-img and
// qemu-io, holds the outcome against the reference model, and shows the simplest sequence that disagrees.
#include "reports/model.hpp"

#include <chrono>
#include <filesystem>

#include <fmt/format.h>

#include "base/text.hpp"
#include "base/version.hpp"
#include "cli/interrupt.hpp"
#include "cli/meter.hpp"
#include "cli/shared.hpp"
#include "cli/verbs.hpp"
#include "cli/workshop.hpp"
#include "model/generate.hpp"
#include "model/peer.hpp"

namespace cowvet::cli {

namespace {

namespace fs = std::filesystem;
using base::ErrorKind;
using Clock = std::chrono::steady_clock;

constexpr std::string_view peer_word = "qemu-img:";
constexpr std::uint64_t usual_operations = 10'000;
constexpr std::uint64_t usual_peer_operations = 1'000;  // programs are started for each
constexpr std::chrono::seconds patience{120};           // with one sequence of another program

struct ModelRequest {
  std::string engine = "cowvet", profile = "all", output = "human", script;
  std::uint64_t operations = 0, seed = 1, seconds = 0;
  bool progress = false, quiet = false;

  [[nodiscard]] bool with_peer() const { return engine.starts_with(peer_word); }
};

struct Held {
  std::string engine, version;
  model::Searched searched;
  bool stopped = false;
};

// qemu-img where it is, and qemu-io beside it. They are written into scripts without quotes.
base::Result<model::Peer::Programs> programs_of(const std::string& path) {
  constexpr std::string_view fine = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./+-";
  std::error_code error;
  const auto image = path.find('/') == std::string::npos ? fs::path(path) : fs::absolute(path, error);
  if (path.empty() || error || image.string().find_first_not_of(fine) != std::string::npos)
    return base::fail(ErrorKind::usage,
                      fmt::format("'{}' can't be used as a program's name: give a path of plain letters",
                                  base::escape(path)));
  const auto io = image.has_parent_path() ? image.parent_path() / "qemu-io" : fs::path("qemu-io");
  return model::Peer::Programs{image.string(), io.string()};
}

// The first line that the program says of itself.
base::Result<std::string> version_of(const Workshop& workshop, const model::Peer::Programs& programs,
                                     const base::Progress& progress) {
  for (const auto& program : {programs.io, programs.image}) {
    const auto said = workshop.run(program + " --version >version", progress, patience);
    if (!said) return std::unexpected(said.error());
    if (*said)
      return base::fail(ErrorKind::not_found,
                        fmt::format("{} can't be run: give the path of qemu-img, with qemu-io beside it",
                                    base::escape(program)));
  }
  return workshop.first_line("version");
}

model::Profile profile_of(const std::string& word) {
  if (word == "snapshots") return model::Profile::snapshots;
  return word == "chains" ? model::Profile::chains : model::Profile::all;
}

// Counts operations, or where only the time is limited, seconds.
class Limits {
 public:
  Limits(const ModelRequest& request, base::Progress& progress)
      : seconds_(request.seconds), progress_(progress) {
    const auto usual = request.with_peer() ? usual_peer_operations : usual_operations;
    operations_ = request.operations != 0 ? request.operations : seconds_ != 0 ? UINT64_MAX : usual;
    progress.expect(by_time() ? seconds_ : operations_);
  }
  [[nodiscard]] std::uint64_t operations() const { return operations_; }
  [[nodiscard]] std::string_view unit() const { return by_time() ? "seconds" : "operations"; }
  // Whether to end before all operations are done.
  bool over(const model::Searched& so_far) {
    const auto elapsed = static_cast<std::uint64_t>(
        std::chrono::duration_cast<std::chrono::seconds>(Clock::now() - begin_).count());
    const std::uint64_t done = by_time() ? elapsed : so_far.operations;
    progress_.advance(done - told_);
    told_ = done;
    return progress_.stop_requested() || (seconds_ != 0 && elapsed >= seconds_);
  }

 private:
  [[nodiscard]] bool by_time() const { return operations_ == UINT64_MAX; }
  std::uint64_t seconds_, operations_ = 0, told_ = 0;
  base::Progress& progress_;
  Clock::time_point begin_ = Clock::now();
};

base::Result<Held> hold(const ModelRequest& request) {
  Held held{.engine = "cowvet", .version = std::string(base::version), .searched = {}};
  base::Progress progress;
  const StopOnSignal stop(progress);
  std::unique_ptr<Workshop> workshop;
  std::optional<model::Peer> peer;
  if (request.with_peer()) {
    const auto programs = programs_of(request.engine.substr(peer_word.size()));
    if (!programs) return std::unexpected(programs.error());
    auto made = Workshop::make();
    if (!made) return std::unexpected(made.error());
    workshop = std::move(*made);
    auto version = version_of(*workshop, *programs, progress);
    if (!version) return std::unexpected(version.error());
    held.engine = programs->image;
    held.version = std::move(*version);
    peer.emplace(workshop->folder(), *programs,
                 [&](const std::string& line) { return workshop->run(line, progress, patience); });
  }
  Limits limits(request, progress);
  model::Search search{.seed = request.seed, .operations = limits.operations()};
  search.wishes.profile = profile_of(request.profile);
  search.enough = [&](const model::Searched& so_far) { return limits.over(so_far); };
  if (peer) {
    search.scope = model::Scope::peer;
    search.most_shrinks = 400;
    // Making a LUKS image fails by chance there: docs/peers.md.
    search.wishes.luks = false;
    search.wishes.largest_cluster = 64 << 10;
    search.wishes.most_operations = 80;
  }
  {
    const Meter meter(progress, "model", Meter::style(request.progress, request.quiet), limits.unit());
    held.searched = model::search(search, [&](const model::Sequence& sequence) {
      return peer ? peer->does(sequence) : model::examine(sequence, {});
    });
  }
  held.stopped = progress.stop_requested();
  if (held.searched.error && !held.stopped) return std::unexpected(*held.searched.error);
  return held;
}

}  // namespace

Exit model(std::span<char* const> words, Console& console) {
  ModelRequest request;
  Arguments arguments(
      "model",
      "Does generated sequences of operations to small images, and holds what they read as against a model "
      "that is too "
      "simple to be wrong. The first disagreement is made as simple as possible and shown as a shell script. "
      "Exit code "
      "0: none was found, 2: there is one, 1: could not be run, or was stopped.",
      "  cowvet model                                            # cowvet's own engine, in memory\n"
      "  cowvet model --engine qemu-img:/usr/bin/qemu-img        # an installed QEMU\n"
      "  cowvet model --time 600 --seed 7 --script failing.sh    # ten minutes of other sequences");
  arguments.text("--engine", request.engine, "ENGINE",
                 "What is examined: cowvet, or qemu-img:PATH with qemu-io beside it");
  arguments.number("--ops", request.operations,
                   "How many operations; when not given, 10000, or 1000 of another program");
  arguments.number("--seed", request.seed, "Another number, other sequences; 1 when not given");
  arguments.number("--time", request.seconds, "Seconds after which no new sequence is begun");
  arguments.word("--profile", request.profile, {"all", "snapshots", "chains"},
                 "What sequences are mostly about");
  arguments.text("--script", request.script, "FILE",
                 "Where a script that reproduces a disagreement goes, too");
  add_output(arguments, request.output, {"human", "json"});
  arguments.flag("-p,--progress", request.progress, "Show progress even when stderr is no terminal");
  arguments.flag("-q,--quiet", request.quiet, "Don't show progress");
  if (const auto end = arguments.parse(words, console)) return *end;
  if (request.engine != "cowvet" && !request.with_peer()) {
    console.complain(
        fmt::format("model: '{}' is no engine: give cowvet or qemu-img:PATH", base::escape(request.engine)));
    return Exit::failed;
  }
  const auto held = hold(request);
  if (!held) {
    console.complain(about("model", held.error()));
    return Exit::failed;
  }
  const reports::ModelReport report{.engine = held->engine,
                                    .version = held->version,
                                    .profile = request.profile,
                                    .seed = request.seed,
                                    .stopped = held->stopped,
                                    .searched = held->searched};
  console.print(request.output == "json" ? model_json(report) : model_text(report));
  const bool disagrees = held->searched.disagreement.has_value();
  if (disagrees && !request.script.empty())
    if (const auto written = write_file(request.script, held->searched.script); !written) {
      console.complain(about(request.script, written.error()));
      return Exit::failed;
    }
  if (disagrees) return Exit::disagreement;
  return held->stopped ? Exit::failed : Exit::success;
}

}  // namespace cowvet::cli
