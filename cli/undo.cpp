// cowvet undo: makes an image what it was before a repair, byte for byte. Promises: as repair/undo.hpp; an image that
// another program uses is not touched.
#include "repair/undo.hpp"

#include <algorithm>
#include <filesystem>
#include <utility>

#include <fmt/format.h>

#include "base/text.hpp"
#include "cli/interrupt.hpp"
#include "cli/meter.hpp"
#include "cli/shared.hpp"
#include "cli/verbs.hpp"
#include "repair/undo_files.hpp"
#include "reports/undo.hpp"
#include "storage/file.hpp"

namespace cowvet::cli {

namespace {

using repair::BeforeKind;
using repair::UndoState;

struct UndoRequest {
  std::string file, image, output = "human";
  bool force = false, list = false, quiet = false, progress = false;
};

std::string_view word_for(BeforeKind kind) {
  return kind == BeforeKind::saved   ? "data"
         : kind == BeforeKind::zeros ? "zero"
         : kind == BeforeKind::hole  ? "hole"
                                     : "nothing";
}

std::string_view word_for(UndoState state) {
  return state == UndoState::complete ? "complete" : state == UndoState::undone ? "undone" : "interrupted";
}

// For somebody who named the image instead: its undo files.
std::unexpected<base::Error> no_undo_file(const std::string& file, base::Error error) {
  if (error.kind == base::ErrorKind::wrong_format)
    if (const auto files = repair::undo_files_of(file); files && !files->empty())
      error.message =
          fmt::format("this is no undo file: its undo file is '{}'", base::escape(files->front()));
  return about_file(file, std::move(error));
}

base::Result<std::unique_ptr<storage::Device>> open_named(const std::string& file, bool writable) {
  auto device = storage::open_file(file, {.writable = writable});
  if (!device) return about_file(file, std::move(device.error()));
  return device;
}

// For somebody who takes a change back that was taken back before, of an image that is another by now.
std::string changed_since(const std::string& image, const std::string& undo_file) {
  std::string text =
      "the change was taken back before, and the image is not what it was then: it was changed since";
  if (const auto files = repair::undo_files_of(image);
      files && !files->empty() && files->front() != undo_file)
    text += fmt::format("; its newest undo file is '{}'", base::escape(files->front()));
  return text;
}

base::Result<reports::UndoReport> undo_as(const UndoRequest& request, base::Progress& progress) {
  std::error_code unseen;
  if (std::filesystem::is_directory(request.file, unseen))
    return about_file(request.file, {base::ErrorKind::usage, "is a directory: name the undo file in it"});
  auto file = open_named(request.file, false);
  if (!file) return std::unexpected(std::move(file.error()));
  const auto info = repair::read_undo(**file, progress);
  if (!info) return no_undo_file(request.file, info.error());
  reports::UndoReport report{
      .file = request.file,
      .image = request.image.empty() ? repair::image_of(request.file, info->image) : request.image,
      .state = word_for(info->state),
      .made = repair::utc(info->made),
      .length_before = info->length_before,
      .length_after = info->length_after,
      .changed = info->sectors * repair::sector,
      .saved = info->saved_sectors * repair::sector,
      .result = "listed",
      .written = 0,
      .ranges = {}};
  if (request.list) {
    report.ranges.emplace();
    const auto listed = repair::each_range(**file, [&](const repair::UndoRange& range) {
      report.ranges->push_back({range.begin, range.end - range.begin, word_for(range.kind)});
    });
    if (!listed) return about_file(request.file, listed.error());
    return report;
  }
  if (info->state == UndoState::undone) {
    const auto image = open_named(report.image, false);
    if (!image) return std::unexpected(image.error());
    const auto is_before = repair::is_as_before(**image, **file, progress);
    if (!is_before) return about_file(request.file, is_before.error());
    if (!*is_before)
      return about_file(report.image, {base::ErrorKind::usage, changed_since(report.image, request.file)});
    report.result = "nothing-to-do";
    return report;
  }
  file->reset();
  auto image = open_named(report.image, true);
  if (!image) return std::unexpected(std::move(image.error()));
  file = open_named(request.file, true);
  if (!file) return std::unexpected(std::move(file.error()));
  const auto undone =
      repair::undo(**image, **file, request.force ? repair::Force::yes : repair::Force::no, progress);
  if (!undone) return about_file(report.image, undone.error());
  report.result = undone->already ? "nothing-to-do" : "restored";
  report.written = undone->written;
  return report;
}

}  // namespace

Exit undo(std::span<char* const> words, Console& console) {
  UndoRequest request;
  Arguments arguments(
      "undo", "Makes an image what it was before a repair, byte for byte.",
      "  cowvet undo disk.qcow2.cowvet-undo\n"
      "  cowvet undo --list disk.qcow2.cowvet-undo             # what the repair changed; writes nothing\n"
      "  cowvet undo --image moved.qcow2 disk.qcow2.cowvet-undo\n"
      "What was interrupted goes on when it is called again. An image that was written to since is refused.\n"
      "Exit code: 0 the image is what it was, 1 it is not.");
  arguments.text("--image", request.image, "IMAGE", "The image, when it is not where it was");
  arguments.flag("--force", request.force,
                 "Also when the image's time of change is later than the repair: for copies");
  arguments.flag("--list", request.list, "Say what the undo file is for, and which bytes were changed");
  add_output(arguments, request.output, {"human", "json"});
  arguments.flag("-q,--quiet", request.quiet, "Print nothing but errors");
  arguments.flag("-p,--progress", request.progress, "Show progress even when stderr is no terminal");
  arguments.operand(request.file, "FILE", "The undo file that the repair wrote");
  if (const auto end = arguments.parse(words, console)) return *end;
  base::Progress progress;
  const StopOnSignal stop(progress);
  const auto report = [&] {
    const Meter meter(progress, base::escape(request.file), Meter::style(request.progress, request.quiet));
    return undo_as(request, progress);
  }();
  if (!report) {
    console.complain(report.error().message);
    return Exit::failed;
  }
  if (!request.quiet)
    console.print(request.output == "json" ? reports::undo_json(*report) : reports::undo_text(*report));
  return Exit::success;
}

}  // namespace cowvet::cli
