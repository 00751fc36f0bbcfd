// cowvet revert-check: what going back to a snapshot, or discarding an overlay, would do. Writes nothing.
#include "base/text.hpp"
#include "cli/interrupt.hpp"
#include "cli/meter.hpp"
#include "cli/revert.hpp"
#include "cli/shared.hpp"
#include "cli/verbs.hpp"

namespace cowvet::cli {

Exit revert_check(std::span<char* const> words, Console& console) {
  RevertQuestion question;
  DiskWords disk;
  std::string output = "human";
  bool overlay = false, quiet = false, show_progress = false;
  Arguments arguments(
      "revert-check",
      "Says whether it is safe to go back to a snapshot, what would be lost, and whether it can be undone.",
      "  cowvet revert-check --snapshot before-update disk.qcow2\n"
      "  cowvet revert-check --deep --overlay overlay.qcow2   # discard the overlay\n"
      "Exit code: 0 safe, 1 it can't be told, 2 not safe, 3 safe with loss.");
  arguments.text("--snapshot", question.snapshot, "NAME", "The internal snapshot, by id or name");
  arguments.flag("--overlay", overlay, "IMAGE is an overlay that would be discarded");
  arguments.flag("--deep", question.deep,
                 "Also read the whole content that would be gone back to, through the chain");
  add_output(arguments, output, {"human", "json"});
  arguments.flag("-q,--quiet", quiet, "Print nothing but errors; the exit code tells");
  arguments.flag("-p,--progress", show_progress, "Show progress even when stderr is no terminal");
  disk.add_force_share(arguments);
  disk.add_to(arguments);
  arguments.operand(question.image, "IMAGE", "Image that holds the snapshot, or the overlay");
  if (const auto end = arguments.parse(words, console)) return *end;
  if (overlay != question.snapshot.empty() || disk.image_options) {
    console.complain(disk.image_options ? "revert-check: name the image by its file"
                                        : "revert-check: one is needed: --snapshot NAME or --overlay");
    return Exit::failed;
  }
  base::Progress progress;
  const StopOnSignal stop(progress);
  const auto report = [&] {
    const Meter meter(progress, base::escape(question.image), Meter::style(show_progress, quiet));
    return question_revert(question, disk, progress);
  }();
  if (!report) {
    console.complain(about(question.image, report.error()));
    return Exit::failed;
  }
  if (!quiet)
    console.print(output == "json" ? reports::revert_json(*report)
                                   : reports::revert_text(*report, {.width = Console::terminal_width()}));
  return !report->safe() ? Exit::corrupt : report->loses() ? Exit::leaks : Exit::success;
}

}  // namespace cowvet::cli
