// cowvet snapshot: lists, takes, applies and removes the snapshots inside an image, as qemu-img snapshot
// does, which needs neither the backing file nor a key; makes overlays, and takes layers out of chains
// (cli/layers.hpp). Promises: a crash leaves the image as it was or as asked for.
#include <chrono>

#include <fmt/format.h>

#include "base/text.hpp"
#include "cli/disks.hpp"
#include "cli/interrupt.hpp"
#include "cli/layers.hpp"
#include "cli/overlay_guard.hpp"
#include "cli/program.hpp"
#include "cli/revert.hpp"
#include "cli/shared.hpp"
#include "cli/verbs.hpp"
#include "reports/info.hpp"

namespace cowvet::cli {

namespace {

using base::ErrorKind;

struct SnapshotRequest {
  std::string image;
  std::string format, overlay, layer, into;
  std::vector<std::string> create, apply, remove;
  bool list = false, remove_file = false;
  DiskWords disk;
  EditWords edit;

  [[nodiscard]] std::size_t actions() const {
    return create.size() + apply.size() + remove.size() + (list ? 1U : 0U) + (overlay.empty() ? 0U : 1U) +
           (layer.empty() ? 0U : 1U);
  }
};

std::string list_of(const engine::Qcow2Disk& disk) {
  std::vector<reports::SnapshotLine> lines;
  for (auto& s : disk.snapshots())
    lines.push_back({.id = std::move(s.id),
                     .name = std::move(s.name),
                     .vm_state_size = s.vm_state_size,
                     .date_sec = s.date_sec,
                     .vm_clock_nsec = s.vm_clock_nsec,
                     .icount = s.icount});
  return reports::snapshot_list(lines);
}

base::Result<void> create(engine::Qcow2Disk& disk, const std::string& name) {
  constexpr std::size_t longest = 255;
  if (name.size() > longest)
    return base::fail(ErrorKind::usage,
                      fmt::format("a snapshot's name has at most {} bytes: QEMU would cut it", longest));
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  const auto seconds = std::chrono::floor<std::chrono::seconds>(now);
  const auto rest = std::chrono::duration_cast<std::chrono::nanoseconds>(now - seconds);
  const auto made = disk.create_snapshot(name, static_cast<std::uint32_t>(seconds.count()),
                                         static_cast<std::uint32_t>(rest.count()));
  return made ? base::Result<void>{} : std::unexpected(made.error());
}

// By name alone, as qemu-img does it: an id may be another snapshot's name.
base::Result<void> remove(engine::Qcow2Disk& disk, const std::string& name) {
  std::string hint = "see cowvet snapshot -l";
  for (const auto& s : disk.snapshots()) {
    if (s.name == name) return disk.remove_snapshot(s);
    if (s.id == name) hint = fmt::format("the one with this ID has the name '{}'", base::escape(s.name));
  }
  return base::fail(ErrorKind::usage,
                    fmt::format("there is no snapshot with the name '{}': {}", base::escape(name), hint));
}

base::Result<void> change(engine::Qcow2Disk& disk, const SnapshotRequest& request) {
  base::Result<void> done;
  if (!request.create.empty()) done = create(disk, request.create.front());
  if (!request.apply.empty()) done = disk.apply_snapshot(request.apply.front());
  if (!request.remove.empty()) done = remove(disk, request.remove.front());
  return done;
}

// Going back to what is damaged would lose the present for nothing. In qemu-img's place nothing is asked, as
// there; loss of the present is what -a is for.
base::Result<void> may_go_back(const SnapshotRequest& request) {
  if (stands_in() || request.edit.force || request.disk.image_options) return {};
  base::Progress progress;
  const StopOnSignal stop(progress);
  const auto report = question_revert(
      {.image = request.image, .snapshot = request.apply.front(), .alone = true}, request.disk, progress);
  if (!report)
    return report.error().kind == ErrorKind::cancelled ? std::unexpected(report.error())
                                                       : base::Result<void>{};
  if (report->safe()) return {};
  return base::fail(
      ErrorKind::usage,
      fmt::format("going back is not safe: {}: see 'cowvet revert-check --snapshot', or add --force",
                  report->obstacles.front()));
}

base::Result<void> snapshot_as(const SnapshotRequest& request, Console& console) {
  if (request.actions() > 1)
    return base::fail(ErrorKind::usage,
                      "one of -l, -c, -a, -d, --external and --delete-layer can be done at a time");
  const bool changes = request.actions() == 1 && !request.list;
  if (changes && request.disk.force_share)
    return base::fail(ErrorKind::usage,
                      "-U reads an image that another program may write to: it can't be changed meanwhile");
  if (changes && request.edit.dry_run)
    return base::fail(
        ErrorKind::usage,
        "--dry-run tells what --external and --delete-layer would do; what going back would do is told "
        "by cowvet revert-check --snapshot");
  auto guard = request.edit.guard;
  guard.force = request.edit.force;
  if (!request.apply.empty())
    if (auto safe = may_go_back(request); !safe) return safe;
  if (!request.apply.empty())
    if (auto free = refuse_with_overlays(request.image, request.disk.image_options, guard); !free)
      return free;
  const auto image =
      open_disk(request.image, request.disk,
                {.format = image_format(request.format), .writable = changes, .no_backing = true});
  if (!image) return std::unexpected(image.error());
  auto* const disk = (*image)->qcow2();
  if (disk == nullptr)
    return changes ? base::fail(ErrorKind::usage, "a raw image can't hold snapshots: convert it to qcow2")
                   : base::Result<void>{};
  if (!changes) {
    console.print(list_of(*disk));
    return {};
  }
  if (auto done = change(*disk, request); !done) return done;
  return (*image)->close();
}

}  // namespace

namespace {

// What is done to files and not inside one: errors name theirs.
base::Result<void> change_layers(const SnapshotRequest& r, Console& console) {
  if (!r.overlay.empty()) return make_overlay({r.overlay, r.image, r.format}, r.disk, r.edit, console);
  return delete_layer({r.layer, r.image, r.format, r.into, r.remove_file}, r.disk, r.edit, console);
}

}  // namespace

Exit snapshot(std::span<char* const> words, Console& console) {
  SnapshotRequest request;
  Arguments arguments(
      "snapshot",
      "Lists, takes, applies and removes the snapshots inside an image; makes overlays, and takes layers out "
      "of "
      "chains.",
      "  cowvet snapshot -l disk.qcow2\n"
      "  cowvet snapshot -c before-update disk.qcow2\n"
      "  cowvet snapshot -a before-update disk.qcow2   # the disk as it was, its size too\n"
      "  cowvet snapshot -d before-update disk.qcow2\n"
      "  cowvet snapshot --external today.qcow2 disk.qcow2             # a new overlay on disk.qcow2\n"
      "  cowvet snapshot --delete-layer s2.qcow2 --into base active.qcow2");
  arguments.flag("-l,--list", request.list,
                 "List the snapshots; what is done when nothing else is asked for");
  arguments.texts("-c,--create", request.create, "NAME", "Take a snapshot");
  arguments.texts("-a,--apply", request.apply, "NAME", "Go back to this snapshot, given by ID or name");
  arguments.texts("-d,--delete", request.remove, "NAME", "Remove the snapshot with this name");
  arguments.text("--external", request.overlay, "OVERLAY",
                 "Make this file: an overlay on IMAGE, which is like it");
  arguments.text("--delete-layer", request.layer, "LAYER", "Take this layer out of the chain of IMAGE");
  arguments.word("--into", request.into, {"base", "overlay"},
                 "Where the layer's content goes: base, into the one below; overlay, into the one above");
  arguments.flag("--remove", request.remove_file, "Remove the layer's file when that is done");
  arguments.word("-f", request.format, {"qcow2", "raw"}, "The image's format; found out when not given");
  request.edit.add_to(arguments);
  request.disk.add_force_share(arguments);
  request.disk.add_to(arguments);
  arguments.operand(request.image, "IMAGE", "Image that holds the snapshots");
  if (const auto end = arguments.parse(words, console)) return *end;
  const bool inside = request.actions() > 1 || (request.overlay.empty() && request.layer.empty());
  if (const auto done = inside ? snapshot_as(request, console) : change_layers(request, console); !done) {
    console.complain(inside ? about(request.image, done.error()) : done.error().message);
    return Exit::failed;
  }
  return Exit::success;
}

}  // namespace cowvet::cli
