// cowvet bitmap: adds, removes and changes an image's persistent dirty bitmaps, as qemu-img bitmap does. Promises: the
// steps are done in the order in which they are given; the steps before one that fails stay done.
#include <algorithm>

#include <fmt/format.h>

#include "base/text.hpp"
#include "cli/disks.hpp"
#include "cli/shared.hpp"
#include "cli/verbs.hpp"

namespace cowvet::cli {

namespace {

using base::ErrorKind;

enum class Action : std::uint8_t { add, remove, clear, enable, disable, merge };

struct Step {
  Action action;
  std::string source;  // of a merge
};

struct BitmapRequest {
  std::string image, name, format, source_file, source_format;
  std::vector<Step> steps;
  std::optional<std::uint64_t> granularity;
  DiskWords disk;

  [[nodiscard]] bool has(Action action) const {
    return std::ranges::any_of(steps, [&](const Step& step) { return step.action == action; });
  }
};

std::string_view word_of(Action action) {
  switch (action) {
    case Action::add: return "add";
    case Action::remove: return "remove";
    case Action::clear: return "clear";
    case Action::enable: return "enable";
    case Action::disable: return "disable";
    case Action::merge: return "merge";
  }
  __builtin_unreachable();
}

base::Result<void> consider(const BitmapRequest& request) {
  if (request.steps.empty())
    return base::fail(ErrorKind::usage,
                      "nothing to do: give at least one of --add, --remove, --clear, --enable, --disable and "
                      "--merge");
  if (request.granularity && !request.has(Action::add))
    return base::fail(ErrorKind::usage, "-g says how finely a new bitmap records: it needs --add");
  if (!request.source_file.empty() && !request.has(Action::merge))
    return base::fail(ErrorKind::usage, "-b names the image of the bitmap that is merged: it needs --merge");
  if (!request.source_format.empty() && request.source_file.empty())
    return base::fail(ErrorKind::usage, "-F is the format of the image that -b names: add -b");
  if (request.disk.image_options && !request.format.empty())
    return base::fail(ErrorKind::usage, "the format is part of the option list: leave -f out");
  return {};
}

// QEMU's choice when none is made: a cluster, within bounds.
std::uint64_t usual_granularity(const engine::Qcow2Disk& disk) {
  constexpr std::uint64_t least = 4096;
  constexpr std::uint64_t most = 65536;
  return std::clamp(disk.geometry().cluster_size(), least, most);
}

base::Result<void> take(const Step& step, const BitmapRequest& request, engine::Qcow2Disk& disk,
                        const engine::Qcow2Disk& source) {
  const auto& name = request.name;
  switch (step.action) {
    case Action::add: {
      const auto granularity = request.granularity.value_or(0);
      return disk.add_bitmap(name, granularity == 0 ? usual_granularity(disk) : granularity, true);
    }
    case Action::remove: return disk.remove_bitmap(name);
    case Action::clear: return disk.clear_bitmap(name);
    case Action::enable: return disk.enable_bitmap(name, true);
    case Action::disable: return disk.enable_bitmap(name, false);
    case Action::merge: return disk.merge_bitmap(name, source, step.source);
  }
  __builtin_unreachable();
}

std::unexpected<base::Error> no_bitmaps() {
  return base::fail(ErrorKind::usage, "a raw image can't hold bitmaps: convert it to qcow2");
}

bool same_image(engine::OpenImage& a, engine::OpenImage& b) {
  const auto first = a.device().identity();
  const auto second = b.device().identity();
  return first && second && first->device == second->device && first->inode == second->inode;
}

base::Result<void> bitmap_as(const BitmapRequest& request) {
  if (auto fine = consider(request); !fine) return fine;
  std::unique_ptr<engine::OpenImage> other;
  if (!request.source_file.empty()) {
    DiskWords plain = request.disk;
    plain.image_options = false;  // a name, whatever IMAGE is
    auto opened = open_disk(request.source_file, plain,
                            {.format = image_format(request.source_format), .no_backing = true});
    if (!opened) {
      opened.error().message = fmt::format("the bitmap's source '{}': {}", base::escape(request.source_file),
                                           opened.error().message);
      return std::unexpected(std::move(opened.error()));
    }
    other = std::move(*opened);
  }
  const auto image =
      open_disk(request.image, request.disk,
                {.format = image_format(request.format), .writable = true, .no_backing = true});
  if (!image) return std::unexpected(image.error());
  if (other && same_image(*other, **image))
    return base::fail(ErrorKind::usage, "-b names the image itself: leave it out");
  auto* const disk = (*image)->qcow2();
  if (disk == nullptr || (other && other->qcow2() == nullptr)) return no_bitmaps();
  const auto& source = other ? *other->qcow2() : *disk;
  base::Result<void> done;
  for (const auto& step : request.steps) {
    if (done = take(step, request, *disk, source); done) continue;
    done.error().message = fmt::format("{}: {}", word_of(step.action), done.error().message);
    break;
  }
  auto closed = (*image)->close();
  return done ? closed : done;
}

}  // namespace

Exit bitmap(std::span<char* const> words, Console& console) {
  BitmapRequest request;
  Arguments arguments(
      "bitmap",
      "Adds, removes and changes an image's persistent dirty bitmaps, step by step as they are given.",
      "  cowvet bitmap --add -g 64k disk.qcow2 backup       # records what is written from now on\n"
      "  cowvet bitmap --merge monday --clear disk.qcow2 week\n"
      "  cowvet bitmap --add --disable --merge backup -b top.qcow2 -F qcow2 disk.qcow2 backup");
  const auto step = [&](Action action, std::string help) {
    arguments.step(
        fmt::format("--{}", word_of(action)), [&request, action] { request.steps.push_back({action, {}}); },
        std::move(help));
  };
  step(Action::add, "Make the bitmap, empty and recording");
  step(Action::remove, "Remove it");
  step(Action::clear, "Clear it: nothing counts as written");
  step(Action::enable, "Record writes from now on");
  step(Action::disable, "Stop recording");
  arguments.step(
      "--merge", "SOURCE",
      [&request](const std::string& source) { request.steps.push_back({Action::merge, source}); },
      "Mark in it what the bitmap SOURCE marks");
  arguments.text("-b", request.source_file, "FILE",
                 "The image that holds SOURCE; IMAGE itself when not given");
  arguments.text("-F", request.source_format, "FORMAT", "The format of the image that -b names");
  arguments.size("-g", request.granularity, "Bytes that one bit of a new bitmap stands for; a power of two");
  arguments.word("-f", request.format, {"qcow2", "raw"}, "The image's format; found out when not given");
  request.disk.add_to(arguments);
  arguments.operand(request.image, "IMAGE", "Image that holds the bitmap");
  arguments.operand(request.name, "BITMAP", "The bitmap's name");
  if (const auto end = arguments.parse(words, console)) return *end;
  if (const auto done = bitmap_as(request); !done) {
    console.complain(about(request.image, done.error()));
    return Exit::failed;
  }
  return Exit::success;
}

}  // namespace cowvet::cli
