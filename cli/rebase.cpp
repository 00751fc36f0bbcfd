// cowvet rebase: gives an image another backing file, as qemu-img rebase does. Promises: as engine/rebase.hpp; with -u,
// which copies nothing, what would read differently is told first, and ends the verb unless --force was given.
#include "engine/rebase.hpp"

#include <algorithm>
#include <array>

#include <fmt/format.h>

#include "base/text.hpp"
#include "cli/chain_edits.hpp"
#include "cli/interrupt.hpp"
#include "cli/meter.hpp"
#include "cli/program.hpp"
#include "cli/shared.hpp"
#include "cli/verbs.hpp"

namespace cowvet::cli {

namespace {

using base::ErrorKind;

struct RebaseRequest {
  std::string image, format, backing_format;
  std::optional<std::string> backing;
  bool unsafe = false, compress = false;
  DiskWords disk;
  EditWords edit;
};

std::unexpected<base::Error> about_image(const RebaseRequest& request, base::Error error) {
  error.message = about(request.image, error);
  return std::unexpected(std::move(error));
}

base::Result<void> check_words(const RebaseRequest& r) {
  if (!r.backing && !r.unsafe)
    return base::fail(ErrorKind::usage,
                      worded("rebase: give the new backing file: -b FILE, or -b \"\" for none",
                             "Must specify backing file (-b) or use unsafe mode (-u)"));
  // A name alone may be of what cowvet does not open.
  constexpr std::array<std::string_view, 12> known{"qcow2", "raw",       "vmdk", "vdi",
                                                   "vhdx",  "vpc",       "qed",  "qcow",
                                                   "luks",  "parallels", "file", "host_device"};
  const bool fine =
      r.backing_format.empty() ||
      std::ranges::find(known.begin(), r.unsafe ? known.end() : known.begin() + 2,
                        std::string_view(r.backing_format)) != (r.unsafe ? known.end() : known.begin() + 2);
  if (!fine)
    return base::fail(ErrorKind::usage,
                      worded(fmt::format("rebase: '{}' is no format of backing files: give qcow2 or raw",
                                         base::escape(r.backing_format)),
                             fmt::format("Invalid format name: '{}'", base::escape(r.backing_format))));
  if (r.unsafe && r.compress)
    return base::fail(ErrorKind::usage,
                      "rebase: -u copies nothing that could be compressed: leave it or -c out");
  if (r.backing && !r.backing->empty() && r.backing_format.empty())
    return base::fail(
        ErrorKind::usage,
        worded("rebase: the backing file's format must be said: add -F qcow2 or -F raw",
               fmt::format("Could not change the backing file to '{}': backing format must be specified",
                           base::escape(*r.backing))));
  return {};
}

// What the rename would change, put into `report`. Nothing: that can't be told, which is said.
base::Result<std::optional<std::vector<engine::ShownDifference>>> differences(
    const RebaseRequest& request, const engine::RebaseRequest& wanted, Console& console) {
  auto chain = open_chain(request.image, request.format, request.disk);
  base::Progress progress;
  const StopOnSignal stop(progress);
  base::Result<std::vector<engine::ShownDifference>> found;
  if (chain) {
    const Meter meter(progress, "comparing", Meter::style(request.edit.progress, request.edit.quiet));
    found = engine::shown_differences(*chain->image, wanted, chain->options, chain->open,
                                      request.edit.options(), progress);
  }
  const auto* const error = !chain ? &chain.error() : !found ? &found.error() : nullptr;
  if (error == nullptr) return std::optional(std::move(*found));
  if (error->kind == ErrorKind::cancelled)
    return base::fail(ErrorKind::cancelled, "rebase: stopped: nothing was changed");
  if (!request.edit.quiet && !stands_in())
    console.complain(fmt::format("warning: whether the disk reads the same then can't be told: {}",
                                 chain ? error->message : about(request.image, *error)));
  return std::nullopt;
}

base::Result<void> rename_as(const RebaseRequest& request, const engine::RebaseRequest& wanted,
                             Console& console) {
  auto chain = open_chain(request.image, request.format, request.disk, true);
  if (!chain) return about_image(request, chain.error());
  const auto edit = engine::prepare_rename(std::move(chain->image), wanted, chain->options, chain->open);
  if (!edit) return std::unexpected(edit.error());
  const auto found = differences(request, wanted, console);
  if (!found) return std::unexpected(found.error());
  auto report = report_of("rebase", (*edit)->plan());
  if (*found) {
    report.differences.emplace();
    for (const auto& difference : **found) {
      report.different += difference.bytes;
      for (const auto& range : difference.ranges)
        report.differences->push_back({difference.snapshot, range.at, range.length});
    }
    if (report.different == 0) report.changed.clear();
  }
  if (request.edit.dry_run) return print_report(std::move(report), request.edit, console);
  if (*found && report.different != 0) {
    constexpr std::size_t most = 20;
    auto shown = *report.differences;
    const auto rest = shown.size() - std::min(most, shown.size());
    shown.resize(shown.size() - rest);
    const auto told = fmt::format("{}: {} bytes would read differently then:\n{}{}",
                                  base::escape(request.image), report.different, reports::range_lines(shown),
                                  rest != 0 ? "  and more (--dry-run tells them)\n" : "");
    if (!request.edit.force && !stands_in())
      return base::fail(ErrorKind::usage, told + "leave -u out to keep what the disk shows, or add --force");
    if (!request.edit.quiet) console.complain("warning: " + told.substr(0, told.size() - 1));
  }
  if (auto spared = spare_overlays(report, request.edit); !spared) return spared;
  base::Progress progress;
  return (*edit)->run(request.edit.options(), progress);
}

base::Result<void> rebase_as(const RebaseRequest& request, Console& console) {
  if (auto fine = check_words(request); !fine) return fine;
  engine::RebaseRequest wanted;
  wanted.backing = request.backing.value_or("");
  if (!wanted.backing.empty()) wanted.format = request.backing_format;
  wanted.compress = request.compress;
  if (request.unsafe) return rename_as(request, wanted, console);
  auto chain = open_chain(request.image, request.format, request.disk);
  if (!chain) return about_image(request, chain.error());
  const auto edit = engine::prepare_rebase(std::move(chain->image), wanted, chain->options, chain->open);
  if (!edit) return std::unexpected(edit.error());
  const auto done = perform("rebase", **edit, request.edit, console);
  return done ? base::Result<void>{} : std::unexpected(done.error());
}

}  // namespace

Exit rebase(std::span<char* const> words, Console& console) {
  RebaseRequest request;
  std::string backing;
  bool named = false;
  Arguments arguments(
      "rebase", "Gives an image another backing file, or none, and keeps what the disk shows.",
      "  cowvet rebase -b new-base.qcow2 -F qcow2 disk.qcow2\n"
      "  cowvet rebase -b \"\" disk.qcow2                           # flatten: it needs no other file then\n"
      "  cowvet rebase -u -b moved/base.qcow2 -F qcow2 disk.qcow2   # the base has moved; nothing is copied");
  arguments.step(
      "-b", "FILE",
      [&](const std::string& value) {
        backing = value;
        named = true;
      },
      "The new backing file, named as the image is to store it; empty for none");
  arguments.text("-F", request.backing_format, "FORMAT", "The new backing file's format");
  arguments.word("-f", request.format, {"qcow2", "raw"}, "The image's format; found out when not given");
  arguments.flag("-u", request.unsafe, "Unsafe: store the name, and copy nothing");
  arguments.flag("-c", request.compress, "Compress what is copied into the image");
  request.edit.add_to(arguments);
  request.disk.add_cache(arguments);
  request.disk.add_source_cache(arguments);
  request.disk.add_force_share(arguments);
  request.disk.add_to(arguments);
  arguments.operand(request.image, "IMAGE", "The image");
  if (const auto end = arguments.parse(words, console)) return *end;
  if (named) request.backing = backing;
  if (const auto done = rebase_as(request, console); !done) {
    console.complain(done.error().message);
    return Exit::failed;
  }
  return Exit::success;
}

}  // namespace cowvet::cli
