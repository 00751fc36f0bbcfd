// cowvet repair: shows what would be done about what is wrong with an image, proves it in memory, and does
// it, so that it can be undone. Exit code: what a check of the image says afterwards.
#include "reports/repair.hpp"

#include <algorithm>
#include <deque>
#include <vector>

#include <fmt/format.h>

#include "base/text.hpp"
#include "cli/examination.hpp"
#include "cli/interrupt.hpp"
#include "cli/mending.hpp"
#include "cli/meter.hpp"
#include "cli/overlay_guard.hpp"
#include "cli/repair_chain.hpp"
#include "cli/shared.hpp"
#include "cli/verbs.hpp"

namespace cowvet::cli {

namespace {

struct RepairWords {
  Shared shared;
  OverlayGuard guard;
  std::string image, level = "lossless", undo_file, model;
  std::vector<std::string> choices;
  bool chain = false, plan = false, allow_loss = false, quiet = false, progress = false, verbose = false;
  std::uint64_t jobs = 0;
};

void describe(Arguments& arguments, RepairWords& words) {
  words.shared.add_to(arguments);
  add_output(arguments, words.shared.output, {"human", "json"});
  arguments.flag("--plan", words.plan, "Show what would be done, and write nothing");
  arguments.word("--level", words.level, {"lossless", "leaks", "all"},
                 "How far to go: lossless (default) changes nothing that can be read and frees nothing; "
                 "leaks also frees "
                 "what nothing refers to; all also takes the best supported of several answers");
  arguments.flag("--allow-loss", words.allow_loss,
                 "With --level all: also give up what can't be reached any more");
  arguments.texts(
      "--choose", words.choices, "ENTRY=OFFSET",
      "The entry of an L1 or L2 table leads to the cluster at this offset of the file, whatever the "
      "evidence says, or is the owner of the shared cluster there; ENTRY=keep: it is left as it is. "
      "Plans tell the entries and what may belong there; repeatable");
  arguments.text(
      "--undo", words.undo_file, "FILE",
      "Where the bytes as they were are kept (default: IMAGE.cowvet-undo, which otherwise is a link to "
      "FILE while the image changes)");
  arguments.flag("--chain", words.chain,
                 "Repair what IMAGE stands on first, from the base up, and find backing files again that "
                 "were moved or renamed: "
                 "in the image's folder and in those of --search");
  arguments.text("--template", words.model, "FILE",
                 "An image that was made like IMAGE: what its header says and the content of IMAGE does not, "
                 "if the header is lost");
  words.guard.add_to(arguments);
  arguments.flag("-q,--quiet", words.quiet, "Print nothing but errors; the exit code tells");
  arguments.flag("-p,--progress", words.progress, "Show progress even when stderr is no terminal");
  arguments.flag("-v,--verbose", words.verbose, "Show all places and bytes that are kept");
  arguments.number("--jobs", words.jobs, "Threads (default: as many as there are cores)");
  arguments.operand(words.image, "IMAGE", "Image to repair");
}

repair::Level level_of(const std::string& name) {
  return name == "all"     ? repair::Level::all
         : name == "leaks" ? repair::Level::leaks
                           : repair::Level::lossless;
}

reports::RepairReport report_on(const std::string& image, const Mending& how, const Mended& mended) {
  return {.file = image,
          .plan = mended.plan,
          .level = how.level,
          .allow_loss = how.allow_loss,
          .done = mended.done,
          .undo_file = mended.undo_file};
}

// Prints what a person is to read, and says how it ended.
Exit tell(const reports::RepairReport& report, const RepairWords& words, Console& console) {
  if (!words.quiet && words.shared.output == "human")
    console.print(
        reports::repair_text(report, {.verbose = words.verbose, .width = Console::terminal_width()}));
  if (report.plan.objection.empty())
    return code_for({.file = report.file, .outcome = report.plan.after}, findings::Severity::leak);
  console.complain(
      fmt::format("{}: the plan was not carried out: {}: please report this as a defect of cowvet",
                  base::escape(report.file), report.plan.objection));
  return Exit::failed;
}

base::Result<Exit> run(const RepairWords& words, const Mending& how, Console& console,
                       base::Progress& progress) {
  const auto mended = mend(words.image, words.shared, how, console, progress);
  if (!mended) return std::unexpected(mended.error());
  const auto report = report_on(words.image, how, *mended);
  if (!words.quiet && words.shared.output == "json") console.print(reports::repair_json(report));
  return tell(report, words, console);
}

Mending mending_of(const RepairWords& words, std::vector<repair::Choice> choices = {}) {
  std::string chosen;
  for (const auto& text : words.choices) chosen += fmt::format(" --choose '{}'", base::escape(text));
  return {.level = level_of(words.level),
          .allow_loss = words.allow_loss,
          .plan_only = words.plan,
          .jobs = static_cast<unsigned>(words.jobs),
          .undo_file = words.undo_file,
          .cause = fmt::format("cowvet repair --level {}{}{}", words.level,
                               words.allow_loss ? " --allow-loss" : "", chosen),
          .guard = words.guard,
          .model = words.model,
          .choices = std::move(choices)};
}

// "l1[3]=0x50000" or "l1[3]=keep"; nothing when it is neither.
std::optional<repair::Choice> choice_of(std::string_view text) {
  const auto end = text.rfind('=');
  if (end == std::string_view::npos || end == 0) return std::nullopt;
  const auto to = text.substr(end + 1);
  repair::Choice choice{.entry = std::string(text.substr(0, end)), .to = {}};
  if (to == "keep") return choice;
  choice.to = parse_size(to);
  return choice.to ? std::optional(std::move(choice)) : std::nullopt;
}

// From the base up. What is wrong with one image does not keep the others from being mended; the worst
// outcome is the exit code.
base::Result<Exit> run_chain(const RepairWords& words, Console& console, base::Progress& progress) {
  const auto links = find_chain(words.image, words.shared, words.guard.folders, progress);
  if (!links) return std::unexpected(links.error());
  auto how = mending_of(words);
  for (const auto& link : *links) how.apart.push_back(link.file);
  Exit worst = Exit::success;
  std::deque<Mended> all;  // what the reports speak of
  std::vector<reports::RepairedLink> told;
  const auto note = [&](Exit code) {
    constexpr Exit by_weight[] = {Exit::success, Exit::leaks, Exit::corrupt, Exit::unsupported, Exit::failed};
    if (std::ranges::find(by_weight, code) > std::ranges::find(by_weight, worst)) worst = code;
  };
  for (const auto& link : *links) {
    auto& now = told.emplace_back(link.file, link.format, link.problem);
    if (!link.problem.empty()) {
      console.complain(fmt::format("{}: {}", base::escape(link.file), link.problem));
      note(Exit::corrupt);
    }
    if (link.format == "raw") continue;  // nothing in it could be repaired
    how.reconnect = link.reconnect ? &*link.reconnect : nullptr;
    auto shared = words.shared;
    shared.format = link.format;
    auto mended = mend(link.file, shared, how, console, progress);
    if (mended) {
      now.report.emplace(report_on(link.file, how, all.emplace_back(std::move(*mended))));
      note(tell(*now.report, words, console));
      const auto missing = [](const auto& w) { return w.rule->name == "chain/missing"; };
      if (std::ranges::any_of(now.report->plan.withheld, missing)) note(Exit::corrupt);
      continue;
    }
    if (mended.error().kind == base::ErrorKind::cancelled) return std::unexpected(mended.error());
    now.error = mended.error().message;
    console.complain(about(link.file, mended.error()));
    note(Exit::failed);
  }
  if (!words.quiet && words.shared.output == "json")
    console.print(reports::repair_chain_json(words.image, told));
  return worst;
}

}  // namespace

Exit repair(std::span<char* const> arguments_given, Console& console) {
  RepairWords words;
  Arguments arguments(
      "repair", "Mends what is wrong with a qcow2 image, so that it can be read first and undone afterwards.",
      "  cowvet repair --plan disk.qcow2                      # read what would be done\n"
      "  cowvet repair disk.qcow2                             # only what loses nothing\n"
      "  cowvet repair --level all --allow-loss disk.qcow2    # everything that can be mended\n"
      "  cowvet repair --chain --plan --output json top.qcow2 # one document: cowvet schema repair-chain\n"
      "  cowvet repair --chain --search /moved top.qcow2      # from the base up; finds moved backing files\n"
      "  cowvet repair --level all --template like.qcow2 disk.qcow2  # its header is gone\n"
      "  cowvet repair --choose 'l1[3]=0x50000' disk.qcow2    # one of the answers that --plan tells\n"
      "  cowvet undo disk.qcow2.cowvet-undo                   # as it was, byte for byte\n"
      "Exit code: as check's, of the image as it is (with --plan: would be) afterwards.");
  describe(arguments, words);
  if (const auto end = arguments.parse(arguments_given, console)) return *end;
  const auto wrong = [&](std::string_view what) {
    console.complain(fmt::format("repair: {}", what));
    return Exit::failed;
  };
  if (auto settled = words.shared.settle(words.image); !settled) return wrong(settled.error().message);
  if (words.shared.format == "raw") return wrong("a raw image has nothing that could be repaired");
  if (words.chain && !words.undo_file.empty())
    return wrong("with --chain each image has an undo file beside it: leave --undo out");
  if (words.allow_loss && words.level != "all") return wrong("--allow-loss goes with --level all");
  if (words.chain && !words.choices.empty())
    return wrong("--choose speaks of one image's entries: repair that one without --chain first");
  std::vector<repair::Choice> choices;
  for (const auto& text : words.choices) {
    auto choice = choice_of(text);
    if (!choice)
      return wrong(fmt::format("'{}' is no choice such as l1[3]=0x50000 or l1[3]=keep (--choose)", text));
    choices.push_back(std::move(*choice));
  }
  base::Progress progress;
  const StopOnSignal stop(progress);
  const auto done = [&] {
    const Meter meter(progress, base::escape(words.image), Meter::style(words.progress, words.quiet));
    return words.chain ? run_chain(words, console, progress)
                       : run(words, mending_of(words, std::move(choices)), console, progress);
  }();
  if (done) return *done;
  console.complain(about(words.image, done.error()));
  return done.error().kind == base::ErrorKind::wrong_format ? Exit::unsupported : Exit::failed;
}

}  // namespace cowvet::cli
