// cowvet commit: writes what an overlay holds into its backing file, as qemu-img commit does; and any range
// of a chain into any layer below it. Promises: as engine/commit.hpp.
#include "engine/commit.hpp"

#include <fmt/format.h>

#include "base/text.hpp"
#include "cli/chain_edits.hpp"
#include "cli/program.hpp"
#include "cli/shared.hpp"
#include "cli/verbs.hpp"

namespace cowvet::cli {

namespace {

struct CommitRequest {
  std::string image, format, base, top, backing_name;
  bool keep = false;
  DiskWords disk;
  EditWords edit;
};

base::Result<void> commit_as(const CommitRequest& request, Console& console) {
  auto chain = open_chain(request.image, request.format, request.disk);
  if (!chain) return about_file(request.image, std::move(chain.error()));
  engine::CommitRequest wanted;
  if (!request.base.empty()) wanted.base = request.base;
  if (!request.top.empty()) wanted.top = request.top;
  if (!request.backing_name.empty()) wanted.backing_name = request.backing_name;
  wanted.keep = request.keep || !request.base.empty();  // with -b, qemu-img leaves the overlay as it is
  auto edit = engine::prepare_commit(std::move(chain->image), wanted, chain->options, chain->open);
  if (!edit) {
    auto& error = edit.error();
    if (error.kind == base::ErrorKind::not_found && request.top.empty())
      error.message =
          worded(std::move(error.message),
                 request.base.empty() ? "Image does not have a backing file"
                                      : fmt::format("Did not find '{}' in the backing chain of '{}'",
                                                    base::escape(request.base), base::escape(request.image)));
    return std::unexpected(std::move(error));
  }
  const auto done = perform("commit", **edit, request.edit, console);
  if (!done) return std::unexpected(done.error());
  if (*done && !request.edit.quiet)
    console.print("Image committed.\n" + worded(left_over((*edit)->plan()), ""));
  return {};
}

}  // namespace

Exit commit(std::span<char* const> words, Console& console) {
  CommitRequest request;
  Arguments arguments(
      "commit",
      "Writes what an overlay holds into its backing file; or a range of a chain into any layer below it.",
      "  cowvet commit overlay.qcow2\n"
      "  cowvet commit -d overlay.qcow2                             # which keeps what it has\n"
      "  cowvet commit --base root.qcow2 --top s2.qcow2 active.qcow2   # s2 and what lies between into root\n"
      "  cowvet commit --dry-run --top s2.qcow2 active.qcow2");
  arguments.word("-f", request.format, {"qcow2", "raw"}, "The image's format; found out when not given");
  arguments.text(
      "-b,--base", request.base, "LAYER",
      "The layer to write into; the one below the top when not given. The image is not emptied then");
  arguments.text("--top", request.top, "LAYER",
                 "The uppermost layer that is merged; IMAGE itself when not given");
  arguments.text("--backing-name", request.backing_name, "NAME",
                 "The name by which the layer above is to store the base; a fitting one when not given");
  arguments.flag("-d", request.keep, "Leave the image as it is: it is not emptied");
  request.edit.add_to(arguments);
  request.disk.add_cache(arguments);
  request.disk.add_to(arguments);
  arguments.operand(request.image, "IMAGE", "The top of the chain");
  if (const auto end = arguments.parse(words, console)) return *end;
  if (const auto done = commit_as(request, console); !done) {
    console.complain(done.error().message);
    return Exit::failed;
  }
  return Exit::success;
}

}  // namespace cowvet::cli
