// cowvet chain: what images stand on, and what stands on them. Promises: no name leads anywhere but to local files that
// are opened for reading; nothing is written. Exit codes are those of check.
#include "reports/chain.hpp"

#include <algorithm>
#include <mutex>

#include <fmt/format.h>

#include "analyzer/check.hpp"
#include "analyzer/libvirt.hpp"
#include "base/parallel.hpp"
#include "base/text.hpp"
#include "cli/examination.hpp"
#include "cli/interrupt.hpp"
#include "cli/meter.hpp"
#include "cli/shared.hpp"
#include "cli/verbs.hpp"

namespace cowvet::cli {

namespace {

using findings::Severity;

struct ChainRequest {
  Shared shared;
  analyzer::GraphOptions graph;
  std::vector<std::string> names, xml;
  std::string color = "auto", fail_on = "leak";
  bool no_check = false, deep = false, verbose = false, quiet = false, progress = false;
  std::uint64_t jobs = 0, max_findings = 20;
};

// All images, several at once, each on one core: many small ones are the rule.
void check_all(const ChainRequest& request, reports::ChainReport& report, base::Progress& progress) {
  std::vector<std::size_t> due;
  const auto& nodes = report.graph.nodes;
  for (std::size_t i = 0; i < nodes.size(); ++i)
    if (nodes[i].kind == analyzer::NodeKind::image && nodes[i].probed == "qcow2") due.push_back(i);
  const unsigned jobs = request.jobs != 0 ? static_cast<unsigned>(request.jobs) : base::default_jobs();
  const Examination how{
      .deep = request.deep,
      .jobs = std::max(1U, jobs / static_cast<unsigned>(std::max<std::size_t>(due.size(), 1))),
      .max_findings = request.max_findings};
  base::parallel_for(jobs, due.size(), [&](std::size_t task, unsigned) {
    const auto index = due[task];
    const auto& node = nodes[index];
    report.checks[index] = examine(node.file, request.shared, how, node.locks.in_use_for_writing(), progress);
  });
}

Exit outcome_of(const reports::ChainReport& report, Severity fails) {
  Exit code = Exit::success;
  const auto count = [&](const std::vector<findings::Finding>& list) {
    for (const auto& finding : list)
      if (finding.severity >= fails)
        code = worse(code, finding.severity >= Severity::error ? Exit::corrupt : Exit::leaks);
  };
  for (std::size_t i = 0; i < report.graph.nodes.size(); ++i) {
    if (report.checks[i]) code = worse(code, code_for(*report.checks[i], fails));
    count(report.graph.nodes[i].findings);
  }
  if (report.libvirt)
    for (const auto& file : report.libvirt->files) count(file.findings);
  return code;
}

// Everything but the checks of the images.
base::Result<reports::ChainReport> examine_chain(const ChainRequest& request) {
  const auto open = [&](const std::string& file) { return open_quietly(file, request.shared); };
  reports::ChainReport report;
  if (!request.xml.empty()) {
    auto libvirt = analyzer::read_libvirt(request.xml, open);
    if (!libvirt) return std::unexpected(std::move(libvirt.error()));
    report.libvirt = std::move(*libvirt);
  }
  auto graph =
      analyzer::read_graph(request.names, request.graph, open,
                           report.libvirt ? report.libvirt->sources() : std::vector<analyzer::NamedSource>{});
  if (!graph) return std::unexpected(std::move(graph.error()));
  report.graph = std::move(*graph);
  analyzer::check_graph(report.graph, request.graph);
  if (report.libvirt) analyzer::check_libvirt(*report.libvirt, report.graph);
  report.checks.resize(report.graph.nodes.size());
  return report;
}

}  // namespace

Exit chain(std::span<char* const> words, Console& console) {
  ChainRequest request;
  Arguments arguments(
      "chain",
      "Says what images stand on and what stands on them, and whether all of it fits together and is sound.",
      "  cowvet chain disk.qcow2                        # the image and all files below it\n"
      "  cowvet chain --no-check /var/lib/images        # every qcow2 image in the folder, as a tree\n"
      "  cowvet chain --libvirt /etc/libvirt/qemu --libvirt /var/lib/libvirt/qemu/snapshot\n"
      "                                                 # whether libvirt's XML is true of the images that "
      "it names\n"
      "  cowvet chain --output dot images | dot -Tsvg > images.svg\n"
      "Exit code: 0 clean, 1 an image can't be opened, 2 damaged, 3 leaks only.");
  request.shared.add_io(arguments);
  add_output(arguments, request.shared.output, {"human", "json", "dot"});
  arguments.flag("--recursive", request.graph.recursive, "Also the folders in folders");
  arguments.flag("--no-check", request.no_check, "The graph only: don't check the images themselves");
  arguments.flag("--deep", request.deep, "Check the images as check --deep does");
  arguments.flag(
      "--allow-remote", request.graph.follow_json,
      "Follow json: names that mean a plain local file. Networks are not: this version connects to nobody");
  arguments.texts(
      "--libvirt", request.xml, "FILE|FOLDER",
      "Hold libvirt's XML of domains and snapshots against the images that it names; may be repeated");
  arguments.number("--max-depth", request.graph.deepest, "Report chains with more files below an image; 200");
  arguments.text("--fail-on", request.fail_on, "SEVERITY",
                 "Least severity that counts for the exit code: note, warning, leak (default), error, fatal");
  arguments.number("--max-findings", request.max_findings, "List at most N findings of a rule and image; 20");
  arguments.number("--jobs", request.jobs, "Threads (default: as many as there are cores)");
  arguments.flag("-v,--verbose", request.verbose, "Also notes");
  arguments.flag("-q,--quiet", request.quiet, "Print nothing but errors; the exit code tells");
  arguments.flag("-p,--progress", request.progress, "Show progress even when stderr is no terminal");
  arguments.word("--color", request.color, {"auto", "always", "never"}, "Colours in text");
  arguments.operands(request.names, "IMAGE|FOLDER", "Images, or folders with images", false);
  if (const auto end = arguments.parse(words, console)) return *end;
  const auto fails = findings::parse_severity(request.fail_on);
  if (!fails) {
    console.complain(
        fmt::format("chain: --fail-on: there is no severity '{}'", base::escape(request.fail_on)));
    return Exit::failed;
  }

  if (request.names.empty() && request.xml.empty()) {
    console.complain(
        "chain: IMAGE|FOLDER is required: name images or folders, or libvirt's XML with --libvirt");
    return Exit::failed;
  }
  auto examined = examine_chain(request);
  if (!examined) {
    console.complain(examined.error().message);
    return Exit::failed;
  }
  auto& report = *examined;
  if (report.graph.nodes.empty() && !report.libvirt) {  // of nothing, "sound" would be a lie
    console.complain(
        fmt::format("{}: no image is in it: name images, or add --recursive for the folders below",
                    base::escape(request.names.front())));
    return Exit::failed;
  }
  base::Progress progress;
  const StopOnSignal stop(progress);
  if (!request.no_check) {
    const Meter meter(progress, "checking", Meter::style(request.progress, request.quiet));
    check_all(request, report, progress);
  }
  if (!request.quiet) {
    const reports::TextOptions style{.verbose = request.verbose,
                                     .color = Console::colored(request.color == "always"  ? Color::always
                                                               : request.color == "never" ? Color::never
                                                                                          : Color::automatic),
                                     .width = Console::terminal_width()};
    console.print(request.shared.output == "json"  ? reports::chain_json(report)
                  : request.shared.output == "dot" ? reports::chain_dot(report)
                                                   : reports::chain_text(report, style));
  }
  return progress.stop_requested() ? Exit::failed : outcome_of(report, *fails);
}

}  // namespace cowvet::cli
