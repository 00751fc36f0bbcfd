// cowvet io: reads and writes a disk in qemu-io's command language, from -c or from standard input, and
// answers as qemu-io does.
#include <iostream>

#include <fmt/format.h>

#include "cli/io_commands.hpp"
#include "cli/shared.hpp"
#include "cli/verbs.hpp"

namespace cowvet::cli {

namespace {

constexpr std::string_view prompt = "qemu-io> ";

struct IoRequest {
  IoOpening how;
  std::vector<std::string> commands;
  std::string file, discard, aio, trace;
  bool no_cache = false, native = false, copy_on_read = false, misalign = false;
};

base::Result<void> settle(IoRequest& request) {
  auto& how = request.how;
  if (request.no_cache) how.words.cache = "none";
  if (!how.words.cache.empty() && !known_cache_mode(how.words.cache))
    return base::fail(base::ErrorKind::usage, "Invalid cache option: " + how.words.cache);
  if (!request.discard.empty() && !known_discard_mode(request.discard))
    return base::fail(base::ErrorKind::usage, "Invalid discard option: " + request.discard);
  if (!request.aio.empty() && !known_aio_mode(request.aio))
    return base::fail(base::ErrorKind::usage, "Invalid aio option: " + request.aio);
  if (how.words.image_options && !how.format.empty())
    return base::fail(base::ErrorKind::usage, "--image-opts and -f are mutually exclusive");
  if (request.discard == "ignore" || request.discard == "off") how.unmap = false;
  if (request.aio == "io_uring") how.words.io = "uring";
  return {};
}

// Each line gets a prompt, whoever types it: that is what callers of qemu-io see.
bool run_input(IoSession& session) {
  bool fine = true;
  std::string line;
  while (!session.quit) {
    session.print(prompt);
    if (!session.console().flush() || !std::getline(std::cin, line)) break;
    fine = run_io_line(session, line) && fine;
  }
  return fine;
}

Exit run_request(IoRequest& request, Console& console) {
  if (const auto fine = settle(request); !fine) {
    console.complain(fine.error().message);
    return Exit::failed;
  }
  IoOpening how = request.how;
  how.file = request.file;
  request.how.format.clear();
  request.how.read_only = request.how.snapshot = false;
  request.how.unmap = true;
  request.how.words.cache.clear();
  IoSession session(console, request.how);
  if (!request.file.empty() && !open_io_file(session, how)) return Exit::failed;
  bool fine = true;
  if (request.commands.empty()) {
    fine = run_input(session);
  } else {
    for (const auto& command : request.commands) {
      fine = run_io_line(session, command) && fine;
      if (session.quit) break;
    }
  }
  if (session.is_open()) {
    const auto closed = session.close();
    if (!closed) console.complain(about(request.file, closed.error()));
    fine = fine && closed;
  }
  return fine ? Exit::success : Exit::failed;
}

}  // namespace

Exit io(std::span<char* const> words, Console& console) {
  IoRequest request;
  auto& how = request.how;
  Arguments arguments("io",
                      "Reads and writes a disk in qemu-io's command language; without -c, commands are read "
                      "from standard input.",
                      "  cowvet io -c 'write -P 7 0 64k' -c 'read -P 7 0 64k' disk.qcow2\n"
                      "  cowvet io -r -c 'read -v 0 512' disk.qcow2\n"
                      "  cowvet io -c help                             # all commands\n"
                      "  cowvet io -c 'help write'");
  arguments.texts("-c,--cmd", request.commands, "COMMAND", "Run this command; several run in order");
  arguments.word("-f,--format", how.format, {"qcow2", "raw"}, "The image's format; found out when not given");
  arguments.flag("-r,--read-only", how.read_only, "Open the image for reading");
  arguments.flag("-s,--snapshot", how.snapshot,
                 "Changes go to a temporary file, and the image stays as it is");
  arguments.flag("-n,--nocache", request.no_cache, "Short for -t none");
  arguments.text("-t,--cache", how.words.cache, "MODE",
                 "Cache mode; with writethrough and directsync every change is durable at once");
  arguments.text("-d,--discard", request.discard, "MODE", "What discarding does: unmap (as it is) or ignore");
  arguments.text("-i,--aio", request.aio, "MODE", "How files are read: threads, native or io_uring");
  arguments.flag("-k,--native-aio", request.native, "Short for -i native");
  arguments.flag("-C,--copy-on-read", request.copy_on_read, "Taken as qemu-io takes it, without effect");
  arguments.flag("-m,--misalign", request.misalign, "Taken as qemu-io takes it, without effect");
  arguments.text("-T,--trace", request.trace, "EVENTS", "Taken as qemu-io takes it, without effect");
  how.words.add_force_share(arguments);
  how.words.add_to(arguments);
  how.guard.add_to(arguments);
  arguments.operand(request.file, "IMAGE", "Image to open; `open` opens one, too", false);
  if (const auto end = arguments.parse(words, console)) return *end;
  return run_request(request, console);
}

}  // namespace cowvet::cli
