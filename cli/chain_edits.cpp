#include "cli/chain_edits.hpp"

#include <algorithm>
#include <filesystem>
#include <map>

#include <fmt/format.h>

#include "base/text.hpp"
#include "cli/conversion.hpp"
#include "cli/interrupt.hpp"
#include "cli/meter.hpp"
#include "cli/program.hpp"
#include "cli/shared.hpp"
#include "storage/path_state.hpp"

namespace cowvet::cli {

namespace {

using base::ErrorKind;

std::vector<reports::EditedLayer> layers(const std::vector<engine::LayerState>& states) {
  std::vector<reports::EditedLayer> list;
  for (const auto& state : states)
    list.push_back({state.file, std::string(engine::format_word(state.format)), state.size});
  return list;
}

// All that belongs to the chain before the operation.
std::vector<std::string> files_of(const reports::ChainEditReport& report) {
  std::vector<std::string> files;
  for (const auto& layer : report.before) files.push_back(layer.file);
  files.insert(files.end(), report.unused.begin(), report.unused.end());
  return files;
}

base::Result<void> add_dependents(reports::ChainEditReport& report, const OverlayGuard& guard) {
  auto known = files_of(report);
  auto files = report.changed;
  files.insert(files.end(), report.invalid.begin(), report.invalid.end());
  for (std::size_t i = 0; i < files.size(); ++i) {  // it grows
    const auto overlays = overlays_apart(files[i], guard, known);
    if (!overlays) return about_file(files[i], overlays.error());
    for (auto* const list : {&known, &files, &report.invalid})
      list->insert(list->end(), overlays->begin(), overlays->end());
  }
  return {};
}

// Files of one file system share its space.
base::Result<void> prove_space(const std::vector<reports::NeededSpace>& needs) {
  std::map<std::uint64_t, std::uint64_t> by_system;
  for (const auto& need : needs) {
    const auto state = storage::look_at(need.file);
    if (!need.available || state.kind != storage::PathState::Kind::file) continue;
    const std::uint64_t sum = by_system[state.device] += need.bytes;
    if (sum > *need.available)
      return base::fail(
          ErrorKind::limit,
          fmt::format("{}: up to {} are needed on its file system, and {} are free: make room first "
                      "(--force tries it all the same)",
                      base::escape(need.file), base::human_size(sum), base::human_size(*need.available)));
  }
  return {};
}

}  // namespace

void EditWords::add_to(Arguments& arguments) {
  arguments.flag("--dry-run", dry_run, "Write nothing; tell what would be done, and what it takes");
  arguments.flag("--force", force, "Do it even if something would be lost, or space may not suffice");
  add_output(arguments, output, {"human", "json"});
  arguments.size("-r", rate, "Read at most so many bytes a second");
  arguments.flag("-p", progress, "Show progress where there is no terminal, too");
  arguments.flag("-q,--quiet", quiet, "Print nothing but errors");
  guard.add_to(arguments, false);
  arguments.number("--jobs", jobs, "Threads; as many as there are cores when not given");
}

engine::EditOptions EditWords::options() const {
  return {.jobs = static_cast<unsigned>(std::min<std::uint64_t>(jobs, 64)), .rate = rate.value_or(0)};
}

base::Result<OpenedChain> open_chain(std::string image, const std::string& format, const DiskWords& words,
                                     bool no_backing) {
  if (words.image_options && !format.empty())
    return base::fail(ErrorKind::usage, "the format is part of the option list: leave -f out");
  for (const auto* const mode : {&words.cache, &words.source_cache})
    if (auto fine = check_cache_mode(*mode); !fine) return std::unexpected(fine.error());
  OpenedChain chain;
  chain.options = {
      .format = image_format(format), .no_backing = no_backing, .cache_bytes = source_cache_bytes};
  if (auto settled = settle(image, words, chain.options); !settled) return std::unexpected(settled.error());
  chain.open = file_opener(words);
  auto opened = engine::open_image(image, chain.options, chain.open);
  if (!opened) {
    opened.error().opening = true;
    return std::unexpected(std::move(opened.error()));
  }
  chain.image = std::move(*opened);
  return chain;
}

reports::ChainEditReport report_of(std::string_view operation, const engine::EditPlan& plan) {
  reports::ChainEditReport report{.operation = std::string(operation),
                                  .before = layers(plan.before),
                                  .after = layers(plan.after),
                                  .copied = plan.copied,
                                  .zeroed = plan.zeroed,
                                  .compared = plan.compared,
                                  .needs = {},
                                  .changed = plan.changed,
                                  .invalid = plan.invalid,
                                  .unused = plan.unused,
                                  .hazards = plan.hazards};
  for (const auto& need : plan.needs)
    report.needs.push_back({need.file, need.bytes, available_for(need.file)});
  return report;
}

// The file may be a link that leads elsewhere.
std::optional<std::uint64_t> available_for(const std::string& file) {
  std::error_code error;
  auto space = std::filesystem::space(file, error);
  if (error) space = std::filesystem::space(std::filesystem::absolute(file, error).parent_path(), error);
  return error ? std::nullopt : std::optional<std::uint64_t>(space.available);
}

base::Result<void> print_report(reports::ChainEditReport report, const EditWords& words, Console& console) {
  if (auto added = add_dependents(report, words.guard); !added) return added;
  console.print(words.output == "json" ? chain_edit_json(report) : chain_edit_text(report));
  return {};
}

base::Result<void> spare_overlays(const reports::ChainEditReport& report, const EditWords& words) {
  if (words.force) return {};
  const auto chain = files_of(report);
  for (const auto* const list : {&report.changed, &report.invalid})
    for (const auto& file : *list)
      if (auto spared = refuse_with_overlays(file, false, words.guard, chain); !spared) {
        spared.error().message = about(file, spared.error());
        return spared;
      }
  return {};
}

base::Result<bool> perform(std::string_view operation, engine::ChainEdit& edit, const EditWords& words,
                           Console& console) {
  const auto report = report_of(operation, edit.plan());
  if (words.dry_run) {
    if (auto printed = print_report(report, words, console); !printed)
      return std::unexpected(printed.error());
    return false;
  }
  // Whose place is taken asks nobody.
  if (!words.force && !stands_in()) {
    if (!report.hazards.empty())
      return base::fail(ErrorKind::usage, report.hazards.front() + " (--force does it all the same)");
    if (auto spared = spare_overlays(report, words); !spared) return std::unexpected(spared.error());
    if (auto proved = prove_space(report.needs); !proved) return std::unexpected(proved.error());
  }
  if (stands_in() && !words.quiet)
    for (const auto& hazard : report.hazards) console.complain("warning: " + hazard);
  base::Progress progress;
  const StopOnSignal stop(progress);
  const Meter meter(progress, base::escape(report.before.front().file),
                    Meter::style(words.progress, words.quiet));
  auto done = edit.run(words.options(), progress);
  if (done) return true;
  if (done.error().kind == ErrorKind::cancelled)
    done.error().message = fmt::format(
        "{}: stopped: the chain reads as before, and the same command goes on from here", operation);
  return std::unexpected(std::move(done.error()));
}

std::string left_over(const engine::EditPlan& plan) {
  std::string text;
  for (const auto& file : plan.invalid)
    text += fmt::format("{} can't be used any more: what lies below it has changed.\n", base::escape(file));
  for (const auto& file : plan.unused)
    if (std::ranges::find(plan.invalid, file) == plan.invalid.end())
      text += fmt::format("{} is not needed by this chain any more.\n", base::escape(file));
  return text;
}

}  // namespace cowvet::cli
