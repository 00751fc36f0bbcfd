// cowvet pull: copies what lies below an image into it, so that it needs less of its chain, or nothing [block stream,
// flatten]. Promises: as engine/rebase.hpp; no layer below is written.
#include <fmt/format.h>

#include "base/text.hpp"
#include "cli/chain_edits.hpp"
#include "cli/shared.hpp"
#include "cli/verbs.hpp"
#include "engine/rebase.hpp"

namespace cowvet::cli {

namespace {

struct PullRequest {
  std::string image, format, base, backing_name;
  bool compress = false;
  DiskWords disk;
  EditWords edit;
};

base::Result<void> pull_as(const PullRequest& request, Console& console) {
  auto chain = open_chain(request.image, request.format, request.disk);
  if (!chain) return about_file(request.image, std::move(chain.error()));
  engine::PullRequest wanted{.compress = request.compress};
  if (!request.base.empty()) wanted.base = request.base;
  if (!request.backing_name.empty()) wanted.backing_name = request.backing_name;
  const auto edit = engine::prepare_pull(std::move(chain->image), wanted, chain->options, chain->open);
  if (!edit) return std::unexpected(edit.error());
  const auto done = perform("pull", **edit, request.edit, console);
  if (!done) return std::unexpected(done.error());
  if (*done && !request.edit.quiet)
    console.print(((*edit)->plan().before.size() == 1 ? "Nothing lies below: nothing was to be pulled.\n"
                                                      : "Image pulled.\n") +
                  left_over((*edit)->plan()));
  return {};
}

}  // namespace

Exit pull(std::span<char* const> words, Console& console) {
  PullRequest request;
  Arguments arguments(
      "pull", "Copies what lies below an image into it, so that it needs less of its chain, or nothing.",
      "  cowvet pull disk.qcow2                        # it has no backing file any more\n"
      "  cowvet pull --base root.qcow2 disk.qcow2      # it has root.qcow2 as its backing file then\n"
      "  cowvet pull --dry-run --base root.qcow2 disk.qcow2");
  arguments.word("-f", request.format, {"qcow2", "raw"}, "The image's format; found out when not given");
  arguments.text("-b,--base", request.base, "LAYER",
                 "The layer that stays below the image; none when not given");
  arguments.text("--backing-name", request.backing_name, "NAME",
                 "The name by which the image is to store the base; a fitting one when not given");
  arguments.flag("-c", request.compress, "Compress what is copied");
  request.edit.add_to(arguments);
  request.disk.add_cache(arguments);
  request.disk.add_to(arguments);
  arguments.operand(request.image, "IMAGE", "The image, which may be any layer of a larger chain");
  if (const auto end = arguments.parse(words, console)) return *end;
  if (const auto done = pull_as(request, console); !done) {
    console.complain(done.error().message);
    return Exit::failed;
  }
  return Exit::success;
}

}  // namespace cowvet::cli
