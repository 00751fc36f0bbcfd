// cowvet check: examines images and reports, with -r after it repaired them. Exit code: see exit_codes.hpp
// and docs/manual; the worst image counts.
#include "analyzer/check.hpp"

#include <fmt/format.h>

#include "base/checked.hpp"
#include "base/text.hpp"
#include "cli/check_chain.hpp"
#include "cli/examination.hpp"
#include "cli/interrupt.hpp"
#include "cli/mending.hpp"
#include "cli/meter.hpp"
#include "cli/overlay_guard.hpp"
#include "cli/program.hpp"
#include "cli/shared.hpp"
#include "cli/verbs.hpp"
#include "reports/form.hpp"

namespace cowvet::cli {

namespace {

using findings::Severity;

struct CheckOptions {
  Shared shared;
  bool quiet = false, progress = false, verbose = false, deep = false, chain = false;
  bool allow_loss = false;
  OverlayGuard guard;
  std::string repair, cache, color = "auto", fail_on = "leak";
  std::vector<std::string> allow, report_files, images;
  std::uint64_t max_findings = 100, jobs = 0;
  std::optional<std::uint64_t> memory_limit;

  // What follows from the texts.
  std::vector<findings::RuleId> allowed;
  Severity fails = Severity::leak;
};

void describe(Arguments& arguments, CheckOptions& options) {
  options.shared.add_to(arguments);
  add_output(arguments, options.shared.output, {"human", "json", "junit", "sarif", "html"});
  arguments.flag("-q,--quiet", options.quiet, "Print nothing but errors; the exit code tells");
  arguments.flag("-p,--progress", options.progress, "Show progress even when stderr is no terminal");
  arguments.flag("-v,--verbose", options.verbose, "Also notes, explanations, and all places that are kept");
  arguments.flag("--deep", options.deep, "Also decode every compressed cluster and read every data cluster");
  arguments.flag("--chain", options.chain,
                 "Also all files that the images stand on, base first, and whether they fit together");
  arguments.text("--fail-on", options.fail_on, "SEVERITY",
                 "Least severity that counts for the exit code: note, warning, leak (default), error, fatal");
  arguments.texts("--allow", options.allow, "RULE",
                  "Don't count findings of this rule (name or number); repeatable");
  arguments.number("--max-findings", options.max_findings,
                   "List at most N findings of a rule (default 100); counts are complete all the same");
  arguments.texts(
      "--report", options.report_files, "FILE",
      "Also write a report; its form follows from the suffix: .json .html .sarif .xml .txt; repeatable");
  arguments.number("--jobs", options.jobs, "Threads (default: as many as there are cores)");
  arguments.size("--memory-limit", options.memory_limit, "Most memory for the map of the file's clusters");
  arguments.word("--color", options.color, {"auto", "always", "never"}, "Colours in text");
  arguments.text("-T", options.cache, "CACHE", "Taken as qemu-img takes it; reading needs no cache mode");
  arguments.text(
      "-r", options.repair, "leaks|all",
      "Repair first, so that it can be undone: leaks gives leaked space back and mends what loses nothing; "
      "all also takes the best supported of several answers");
  arguments.flag("--allow-loss", options.allow_loss,
                 "With -r all: also give up what can't be reached any more");
  options.guard.add_to(arguments);
  arguments.operands(options.images, "IMAGE", "Images to check");
}

// What is wrong with the options' words; empty when nothing is.
std::string settle(CheckOptions& options) {
  if (!options.repair.empty() && options.repair != "leaks" && options.repair != "all")
    return worded(fmt::format("-r: 'leaks' and 'all' are known, '{}' is not", base::escape(options.repair)),
                  fmt::format("Unknown option value for -r (expecting 'leaks' or 'all'): {}",
                              base::escape(options.repair)));
  if (options.allow_loss && options.repair != "all") return "--allow-loss goes with -r all";
  if (options.chain && !options.repair.empty())
    return "-r repairs the image alone: check its chain without -r first";
  for (auto& image : options.images)
    if (const auto settled = options.shared.settle(image); !settled) return settled.error().message;
  const auto severity = findings::parse_severity(options.fail_on);
  if (!severity) return fmt::format("--fail-on: there is no severity '{}'", base::escape(options.fail_on));
  options.fails = *severity;
  for (const auto& name : options.allow) {
    const auto rule = findings::RuleId::lookup(name);
    if (!rule)
      return fmt::format("--allow: there is no rule '{}'; 'cowvet rules' lists them", base::escape(name));
    options.allowed.push_back(*rule);
  }
  if (const auto least = analyzer::least_memory(); options.memory_limit.value_or(least) < least)
    return fmt::format("--memory-limit: the least that works is {}k", base::divide_up(least, 1024));
  for (const auto& file : options.report_files)
    if (!reports::form_of_file(file))
      return fmt::format("--report: '{}' has none of the suffixes .json .html .sarif .xml .txt",
                         base::escape(file));
  return {};
}

// By how much there is less of something.
std::uint64_t fewer(std::uint64_t before, std::uint64_t after) { return before > after ? before - after : 0; }

std::uint64_t corruptions(const findings::Summary& summary) {
  return summary.of(Severity::error).findings + summary.of(Severity::fatal).findings;
}

// Repairs the image, and tells each step on stderr as it was done. Nothing for a file that is no qcow2 image, of which
// the check speaks.
base::Result<std::optional<reports::Repairs>> repair_first(const std::string& image, const Shared& shared,
                                                           const CheckOptions& options, Console& console,
                                                           base::Progress& progress) {
  const bool all = options.repair == "all";
  const auto mended = mend(image, shared,
                           {.level = all ? repair::Level::all : repair::Level::leaks,
                            .allow_loss = options.allow_loss,
                            .jobs = static_cast<unsigned>(options.jobs),
                            .cause = fmt::format("cowvet check -r {}{}", options.repair,
                                                 options.allow_loss ? " --allow-loss" : ""),
                            .guard = options.guard},
                           console, progress);
  if (!mended && mended.error().kind == base::ErrorKind::wrong_format) return std::nullopt;
  if (!mended) return std::unexpected(mended.error());
  const auto& plan = mended->plan;
  if (!plan.objection.empty())
    return base::fail(
        base::ErrorKind::usage,
        fmt::format("the repair was not carried out: {}: please report this as a defect of cowvet",
                    plan.objection));
  if (!mended->done) return reports::Repairs{.withheld = plan.withheld};
  if (!options.quiet)
    for (const auto& action : plan.actions)
      for (const auto& place : action.places)
        Console::write_stderr(fmt::format("Repairing {}: {} ({})\n", base::escape(place.where), action.what,
                                          action.rule->name));
  return reports::Repairs{
      .leaks_fixed = fewer(plan.before.summary.of(Severity::leak).clusters,
                           plan.after.summary.of(Severity::leak).clusters),
      .corruptions_fixed = fewer(corruptions(plan.before.summary), corruptions(plan.after.summary)),
      .undo_file = mended->undo_file,
      .withheld = plan.withheld};
}

}  // namespace

Exit check(std::span<char* const> words, Console& console) {
  CheckOptions options;
  Arguments arguments(
      "check", "Says whether qcow2 images are sound, and what exactly is wrong, where, and at what risk.",
      "  cowvet check disk.qcow2                       # verdict, findings, advice\n"
      "  cowvet check --output json disk.qcow2         # qemu-img's keys and more\n"
      "  cowvet check --chain disk.qcow2               # what it stands on, too; the worst one counts\n"
      "  cowvet check --report out.sarif -q *.qcow2    # for a pipeline\n"
      "Exit code: 0 clean, 1 the check failed, 2 damaged, 3 leaks only, 63 no qcow2 image.");
  describe(arguments, options);
  if (const auto end = arguments.parse(words, console)) return *end;
  if (const auto wrong = settle(options); !wrong.empty()) {
    console.complain("check: " + wrong);
    return Exit::failed;
  }

  const Color color = options.color == "always"  ? Color::always
                      : options.color == "never" ? Color::never
                                                 : Color::automatic;
  const reports::Style style{.text = {.verbose = options.verbose,
                                      .color = Console::colored(color),
                                      .width = Console::terminal_width()},
                             .fails = options.fails};
  const bool human = options.shared.output == "human";
  base::Progress progress;
  const StopOnSignal stop(progress);
  std::vector<reports::Report> all;
  Exit code = Exit::success;
  const auto links = links_of(options.images, options.shared, options.chain);
  for (const auto& link : links) {
    const auto& image = link.file;
    Shared shared = options.shared;
    shared.format = link.format;
    std::optional<reports::Repairs> repairs;
    auto report = [&]() -> reports::Report {
      const Meter meter(progress, base::escape(image), Meter::style(options.progress, options.quiet));
      if (!options.repair.empty() && shared.format != "raw") {
        auto repaired = repair_first(image, shared, options, console, progress);
        if (!repaired) return {.file = image, .outcome = std::unexpected(std::move(repaired.error()))};
        repairs = std::move(*repaired);
      }
      const Examination how{.deep = options.deep,
                            .jobs = static_cast<unsigned>(options.jobs),
                            .max_findings = options.max_findings,
                            .memory_limit = options.memory_limit,
                            .allowed = options.allowed,
                            .of_the_chain = link.of_the_chain};
      // In another program's place, an image in use is not opened in the first place.
      const bool in_use = !stands_in() && shared.format != "raw" && warned_in_use(image, shared, console);
      return examine(image, shared, how, in_use, progress);
    }();
    report.repairs = std::move(repairs);
    if (report.outcome && link.looked_below) report.outcome->backing_name.reset();
    if (!link.raw_base || !report.outcome) code = worse(code, code_for(report, options.fails));
    if (!report.outcome) console.complain(about(image, report.outcome.error()));
    if (human && !options.quiet && report.outcome) {
      if (&link != &links.front()) console.print("\n");
      console.print(reports::text(report, style.text));
    }
    if (!human || !options.report_files.empty()) all.push_back(std::move(report));
  }
  if (!human && !options.quiet)
    console.print(reports::render(*reports::form_named(options.shared.output), all, style));
  for (const auto& file : options.report_files) {
    const reports::Style plain{.text = {.verbose = options.verbose}, .fails = options.fails};
    const auto form = reports::form_of_file(file);
    if (const auto written = write_file(file, reports::render(*form, all, plain)); !written) {
      console.complain(about(file, written.error()));
      code = worse(code, Exit::failed);
    }
  }
  return code;
}

}  // namespace cowvet::cli
