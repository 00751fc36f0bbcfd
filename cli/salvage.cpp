// cowvet salvage: everything that can be read of a damaged image, into new files. The image is never written.
#include "cli/salvaging.hpp"
#include "cli/shared.hpp"
#include "cli/verbs.hpp"

namespace cowvet::cli {

namespace {

// What contradicts itself, whatever the image is. Empty: nothing.
std::string contradiction(const SalvageRequest& r) {
  if (r.disk.image_options) return "name the image by its file";
  if (r.flatten && r.layer_only)
    return "--flatten copies what lies below, --layer-only does not: leave one of them out";
  if (r.resume && r.map.empty()) return "--continue needs --map: the map of the run that it goes on with";
  if (r.resume && r.compress) return "--continue writes into clusters that are there: leave -c out";
  if (r.format == "raw" && r.compress) return "raw images can't be compressed: use -O qcow2, or leave -c out";
  if (r.compress && !r.decrypt && !r.disk.objects.empty())
    return "compressed clusters are not encrypted: leave -c out, or add --decrypt";
  return {};
}

}  // namespace

Exit salvage(std::span<char* const> words, Console& console) {
  SalvageRequest r;
  std::string output = "human", format;
  Arguments arguments(
      "salvage",
      "Copies everything that can be read of a damaged image into new files; the image is never written.",
      "  cowvet salvage disk.qcow2 saved.qcow2                  # with its snapshots\n"
      "  cowvet salvage -O raw --map saved.map disk.qcow2 saved.raw\n"
      "  cowvet salvage --snapshots files disk.qcow2 saved.qcow2 # saved.qcow2, saved.qcow2.1, ...\n"
      "  cowvet salvage --retries 5 --map saved.map /dev/sdb1 saved.qcow2\n"
      "  cowvet salvage --continue --map saved.map /dev/sdb1 saved.qcow2 # what was lost, once more\n"
      "Exit code: 0 all is there, 1 it could not be done, 2 some of it is lost, 3 all is there, some by "
      "inference.");
  arguments.word("-f", format, {"qcow2"}, "Look for a qcow2 image whatever the file begins with");
  arguments.word("-O", r.format, {"qcow2", "raw"}, "What is made; qcow2 when not given");
  arguments.word("--snapshots", r.snapshots, {"internal", "files", "none"},
                 "Where snapshots go: into the new image, into files beside it (raw: always), or nowhere");
  arguments.flag("--flatten", r.flatten,
                 "Copy what lies below as well; when not given, the copy has the backing file's name");
  arguments.flag("--layer-only", r.layer_only,
                 "With -O raw: what the layer leaves to its backing file is zeros");
  arguments.text("--map", r.map, "FILE",
                 "Write what became of each range, as ddrescue's mapfile; of a snapshot to FILE.ID");
  arguments.flag("--continue", r.resume,
                 "Go on with an earlier run's OUT and --map: only what was lost is read again");
  arguments.number("--retries", r.retries, "How often a failing read is tried again; 2 when not given");
  arguments.flag("-c", r.compress, "Compress clusters");
  arguments.flag("--decrypt", r.decrypt, "Store the content of an encrypted image in plain");
  arguments.flag("-p,--progress", r.progress, "Show progress even when stderr is no terminal");
  arguments.flag("-q,--quiet", r.quiet, "Print nothing but errors; the exit code tells");
  add_output(arguments, output, {"human", "json"});
  r.disk.add_force_share(arguments);
  r.disk.add_to(arguments);
  arguments.operand(r.image, "IMAGE", "The damaged image, or a device that holds it");
  arguments.operand(r.out, "OUT", "The file to make");
  if (const auto end = arguments.parse(words, console)) return *end;
  r.assume_qcow2 = !format.empty();
  if (const auto wrong = contradiction(r); !wrong.empty()) {
    console.complain("salvage: " + wrong);
    return Exit::failed;
  }
  const auto report = salvage_image(r);
  if (!report) {
    console.complain(report.error().message);
    return Exit::failed;
  }
  if (!r.quiet)
    console.print(output == "json" ? reports::salvage_json(*report)
                                   : reports::salvage_text(*report, {.width = Console::terminal_width()}));
  return report->loses() ? Exit::corrupt : report->infers() ? Exit::leaks : Exit::success;
}

}  // namespace cowvet::cli
