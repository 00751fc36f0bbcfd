// The commands of `io` that move no data: what the file is, opening and closing, and the program itself.
#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <thread>

#include <fmt/format.h>

#include "analyzer/info.hpp"
#include "cli/io_commands.hpp"
#include "cli/io_report.hpp"
#include "cli/shared.hpp"
#include "engine/qcow2_disk.hpp"
#include "format/geometry.hpp"
#include "reports/info.hpp"

namespace cowvet::cli {

namespace {

// What is stored from `at` on, in this layer alone.
struct Run {
  std::uint64_t length = 0;
  bool allocated = false;
};
base::Result<Run> run_at(engine::Disk& disk, std::uint64_t at, std::uint64_t most) {
  Run run;
  while (run.length < most) {
    const auto extent = disk.extent(base::GuestOffset{at + run.length}, most - run.length);
    if (!extent) return std::unexpected(extent.error());
    if (run.length != 0 && run.allocated != extent->allocated) break;
    run.allocated = extent->allocated;
    run.length += extent->length;
  }
  return run;
}

// Options that may change while a file is open; none has an effect on what cowvet does.
constexpr std::array<std::string_view, 4> of_all{"discard", "detect-zeroes", "auto-read-only", "cache."};
constexpr std::array<std::string_view, 8> of_qcow2{
    "lazy-refcounts",      "overlap-check", "cache-size",          "l2-cache-size",
    "l2-cache-entry-size", "pass-discard-", "refcount-cache-size", "cache-clean-interval"};

// What keeps an option from being changed; empty when nothing does.
std::string why_not_changed(engine::OpenImage& image, std::string_view key, std::string_view value) {
  auto* const qcow2 = image.qcow2();
  const auto begins = [&](std::string_view name) { return key.starts_with(name); };
  if (key == "driver" && value == (qcow2 != nullptr ? "qcow2" : "raw")) return {};
  if (key == "lazy-refcounts" && value == "on" && qcow2 != nullptr && !qcow2->header().has_v3())
    return "Lazy refcounts require a qcow2 image with at least qemu 1.1 compatibility level";
  const bool known =
      std::ranges::any_of(of_all, begins) || (qcow2 != nullptr && std::ranges::any_of(of_qcow2, begins));
  return known ? "" : fmt::format("Cannot change the option '{}'", key);
}

}  // namespace

bool io_aio_flush(IoSession& session, const IoCommand& /*command*/, const IoLine& /*line*/) {
  session.tell_pending();
  return true;
}

bool io_flush(IoSession& session, const IoCommand& /*command*/, const IoLine& /*line*/) {
  const auto flushed = session.image().disk().flush();
  session.tell_pending();
  if (flushed) return true;
  session.complain(about(session.image().file(), flushed.error()));
  return false;
}

bool io_truncate(IoSession& session, const IoCommand& command, const IoLine& line) {
  using engine::Preallocation;
  auto mode = Preallocation::off;
  for (const auto& option : line.options) {
    if (option.letter != 'm') return io_wrong_option(session, command, option);
    if (option.value != "off" && option.value != "metadata" && option.value != "falloc" &&
        option.value != "full") {
      session.complain(fmt::format("Invalid preallocation mode '{}'", option.value));
      return false;
    }
    mode = option.value == "metadata" ? Preallocation::metadata
           : option.value == "falloc" ? Preallocation::falloc
           : option.value == "full"   ? Preallocation::full
                                      : Preallocation::off;
  }
  if (line.operands.empty()) return io_misused(session, command);
  const auto size = io_take_number(session, line.operands.front());
  if (!size) return false;
  session.tell_pending();
  if (auto resized = session.resize(*size, mode); !resized) {
    // Refusals are told in qemu-io's words, the system's faults with the file's name.
    const auto& error = resized.error();
    session.complain(error.os_error != 0 ? about(session.image().file(), error) : error.message);
    return false;
  }
  return true;
}

bool io_length(IoSession& session, const IoCommand& /*command*/, const IoLine& /*line*/) {
  session.print(io_size(static_cast<double>(session.image().disk().size())) + '\n');
  return true;
}

bool io_info(IoSession& session, const IoCommand& /*command*/, const IoLine& /*line*/) {
  auto* const qcow2 = session.image().qcow2();
  std::uint64_t cluster = 0, vm_state = 0;
  if (qcow2 != nullptr) {
    const auto& geometry = qcow2->geometry();
    cluster = geometry.cluster_size();
    vm_state = geometry.l1_entries(qcow2->size()) * geometry.span();
  }
  session.print(fmt::format("format name: {}\ncluster size: {}\nvm state offset: {}\n",
                            qcow2 != nullptr ? "qcow2" : "raw", io_size(static_cast<double>(cluster)),
                            io_size(static_cast<double>(vm_state))));
  if (qcow2 == nullptr) return true;
  const auto info = analyzer::read_info(session.image().device(), analyzer::Format::qcow2);
  if (!info) return io_failed(session, "info", info.error());
  session.print(reports::format_specific_text(*info));
  return true;
}

bool io_alloc(IoSession& session, const IoCommand& /*command*/, const IoLine& line) {
  const auto start = io_take_number(session, line.operands[0]);
  if (!start) return false;
  std::optional<std::uint64_t> count = format::limits::sector;
  if (line.operands.size() == 2) count = io_take_number(session, line.operands[1]);
  if (!count) return false;
  auto& disk = session.image().disk();
  const std::uint64_t end = *start + std::min(*count, disk.size() - std::min(*start, disk.size()));
  std::uint64_t allocated = 0;
  for (std::uint64_t at = *start; at < end;) {
    const auto run = run_at(disk, at, end - at);
    if (!run) return io_failed(session, "is_allocated", run.error());
    if (run->allocated) allocated += run->length;
    at += run->length;
  }
  session.print(fmt::format("{}/{} bytes allocated at offset {}\n", allocated, end - *start,
                            io_size(static_cast<double>(*start))));
  return true;
}

bool io_map(IoSession& session, const IoCommand& /*command*/, const IoLine& /*line*/) {
  auto& disk = session.image().disk();
  for (std::uint64_t at = 0; at < disk.size();) {
    const auto run = run_at(disk, at, disk.size() - at);
    if (!run) return io_failed(session, "map", run.error());
    session.print(fmt::format("{} ({:#x}) bytes {} allocated at offset {} ({:#x})\n",
                              io_size(static_cast<double>(run->length)), run->length,
                              run->allocated ? "   " : "not", io_size(static_cast<double>(at)), at));
    at += run->length;
  }
  return true;
}

bool io_open(IoSession& session, const IoCommand& command, const IoLine& line) {
  IoOpening how = session.defaults();
  std::string list;
  for (const auto& option : line.options) {
    switch (option.letter) {
      case 's': how.snapshot = true; break;
      case 'n': how.words.cache = "none"; break;
      case 'C': break;
      case 'r': how.read_only = true; break;
      case 'k': break;
      case 'U': how.words.force_share = true; break;
      case 'o': list += (list.empty() ? "" : ",") + option.value; break;
      case 't':
        if (!known_cache_mode(option.value)) {
          session.complain("Invalid cache option: " + option.value);
          return false;
        }
        how.words.cache = option.value;
        break;
      case 'd':
        if (!known_discard_mode(option.value)) {
          session.complain("Invalid discard option: " + option.value);
          return false;
        }
        how.unmap = option.value == "unmap" || option.value == "on";
        break;
      case 'i':
        if (!known_aio_mode(option.value)) {
          session.complain("Invalid aio option: " + option.value);
          return false;
        }
        how.words.io = option.value == "io_uring" ? "uring" : "auto";
        break;
      default: return io_wrong_option(session, command, option);
    }
  }
  if (!list.empty() && how.words.image_options) {
    session.print("--image-opts and 'open -o' are mutually exclusive\n");
    return false;
  }
  if (line.operands.size() > 1) return io_misused(session, command);
  if (session.is_open()) {
    session.complain("file open already, try 'help close'");
    return false;
  }
  if (!line.operands.empty()) how.file = line.operands.front();
  if (!list.empty()) {  // as one list of options, in which a comma of the name is doubled
    std::string name = how.file;
    for (std::size_t at = 0; (at = name.find(',', at)) != std::string::npos; at += 2) name.insert(at, ",");
    how.file = line.operands.empty() ? list : list + ",file.filename=" + name;
    how.words.image_options = true;
  }
  return open_io_file(session, std::move(how));
}

bool io_reopen(IoSession& session, const IoCommand& command, const IoLine& line) {
  std::optional<bool> read_only;
  std::string cache;
  for (const auto& option : line.options) {
    switch (option.letter) {
      case 'r':
      case 'w':
        if (read_only) {
          session.complain("Only one -r/-w option may be given");
          return false;
        }
        read_only = option.letter == 'r';
        break;
      case 'c':
        if (!known_cache_mode(option.value)) {
          session.complain("Invalid cache option: " + option.value);
          return false;
        }
        cache = option.value;
        break;
      case 'o':
        for (const auto& [key, value] : split_options(option.value)) {
          const auto wrong = why_not_changed(session.image(), key, value);
          if (wrong.empty()) continue;
          session.complain(wrong);
          return false;
        }
        break;
      default: return io_wrong_option(session, command, option);
    }
  }
  if (!line.operands.empty()) return io_misused(session, command);
  const std::string file = session.image().file();
  const auto done = session.reopen(read_only.value_or(session.read_only()), cache);
  if (!done) session.complain(about(file, done.error()));
  return done.has_value();
}

bool io_close(IoSession& session, const IoCommand& /*command*/, const IoLine& /*line*/) {
  const std::string file = session.image().file();
  const auto closed = session.close();
  if (!closed) session.complain(about(file, closed.error()));
  return closed.has_value();
}

bool io_sleep(IoSession& session, const IoCommand& /*command*/, const IoLine& line) {
  const auto& text = line.operands.front();
  std::uint32_t ms = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), ms);
  if (error != std::errc{} || end != text.data() + text.size()) {
    session.print(text + " is not a valid number\n");
    return false;
  }
  session.tell_pending();
  (void)session.console().flush();
  std::this_thread::sleep_for(std::chrono::milliseconds(ms));
  return true;
}

bool io_sigraise(IoSession& session, const IoCommand& /*command*/, const IoLine& line) {
  const auto number = io_take_number(session, line.operands.front());
  if (!number) return false;
  if (*number >= static_cast<std::uint64_t>(NSIG)) {
    session.print(
        fmt::format("signal argument '{}' is too large to be a valid signal\n", line.operands.front()));
    return false;
  }
  (void)session.console().flush();
  (void)std::raise(static_cast<int>(*number));
  return true;
}

bool io_abort(IoSession& session, const IoCommand& /*command*/, const IoLine& /*line*/) {
  (void)session.console().flush();
  std::abort();
}

bool io_no_breakpoints(IoSession& session, const IoCommand& command, const IoLine& line) {
  const std::string& tag = line.operands.front();
  session.print(command.name == "break" ? "Could not set breakpoint: Operation not supported\n"
                : command.name == "remove_break"
                    ? fmt::format("Could not remove breakpoint {}: Operation not supported\n", tag)
                : command.name == "resume" ? "Could not resume request: Operation not supported\n"
                                           : "Could not wait for a breakpoint: Operation not supported\n");
  return false;
}

}  // namespace cowvet::cli
