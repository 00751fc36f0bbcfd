#include "cli/io_commands.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include <fmt/format.h>

#include "cli/shared.hpp"

namespace cowvet::cli {

namespace {

constexpr int any = -1;

bool io_help(IoSession& session, const IoCommand& command, const IoLine& line);
bool io_quit(IoSession& session, const IoCommand& command, const IoLine& line);

constexpr auto table = std::to_array<IoCommand>({
    {"abort", "", 0, 0, false, false, "", "abort -- simulate a program crash using abort(3)", "", io_abort},
    {"aio_flush", "", 0, 0, true, false, "", "aio_flush -- completes all outstanding aio requests", "",
     io_aio_flush},
    {"aio_read", "", 2, any, true, false, "CP:iqv",
     "aio_read [-Ciqv] [-P pattern] off len [len..] -- asynchronously reads a number of bytes",
     " Reads into as many buffers as there are lengths. What it has to say is said later, at\n"
     " aio_flush at the latest, and whether it fails does not count as failure.\n"
     " 'aio_read -v 512 1k 1k' - shows 2 KiB from byte 512 on\n\n"
     " -C  figures for machines: bytes, operations, time, bytes and operations a second\n"
     " -i  a request that is not carried out\n"
     " -P  compare with this byte\n"
     " -q  no figures\n"
     " -v  show the bytes\n",
     io_aio_read},
    {"aio_write", "", 2, any, true, true, "CfiP:quz",
     "aio_write [-Cfiquz] [-P pattern] off len [len..] -- asynchronously writes a number of bytes",
     " Writes from as many buffers as there are lengths. What it has to say is said later, at\n"
     " aio_flush at the latest, and whether it fails does not count as failure.\n"
     " 'aio_write -P 7 512 1k 1k' - writes 2 KiB from byte 512 on\n\n"
     " -C  figures for machines: bytes, operations, time, bytes and operations a second\n"
     " -f  durable when it is done\n"
     " -i  a request that is not carried out\n"
     " -P  the byte to write; 0xcd when not given\n"
     " -q  no figures\n"
     " -u  with -z: the space may be given back\n"
     " -z  write zeroes without writing bytes\n",
     io_aio_write},
    {"alloc", "a", 1, 2, true, false, "", "alloc offset [count] -- checks if offset is allocated in the file",
     "", io_alloc},
    {"break", "", 2, 2, true, false, "",
     "break event tag -- sets a breakpoint on event and tags the stopped request as tag", "",
     io_no_breakpoints},
    {"close", "c", 0, 0, true, false, "", "close -- close the current open file", "", io_close},
    {"discard", "d", 2, any, true, true, "Cq",
     "discard [-Cq] off len -- discards a number of bytes at a specified offset",
     " Gives the space of whole clusters back, which read as zeroes afterwards.\n"
     " 'discard 64k 1M' - 1 MiB from byte 65536 on\n\n"
     " -C  figures for machines: bytes, operations, time, bytes and operations a second\n"
     " -q  no figures\n",
     io_discard},
    {"flush", "f", 0, 0, true, false, "", "flush -- flush all in-core file state to disk", "", io_flush},
    {"help", "?", 0, 1, false, false, "", "help [command] -- help for one or all commands", "", io_help},
    {"info", "i", 0, 0, true, false, "", "info -- prints information about the current file", "", io_info},
    {"length", "l", 0, 0, true, false, "", "length -- gets the length of the current file", "", io_length},
    {"map", "", 0, 0, true, false, "", "map  -- prints the allocated areas of a file", "", io_map},
    {"open", "o", 1, any, false, false, "snCro:ki:t:d:U",
     "open [-rsCnkU] [-t cache] [-d discard] [-o options] [path] -- open the file specified by path",
     " Opens a file for the commands that follow; one at a time.\n"
     " 'open -r -o driver=raw disk.img' - as raw bytes, for reading\n\n"
     " -C  taken as qemu-io takes it, without effect\n"
     " -d  what discarding does: unmap or ignore\n"
     " -i  how files are read: threads, native or io_uring\n"
     " -k  short for -i native\n"
     " -n  short for -t none\n"
     " -o  options as --image-opts takes them\n"
     " -r  for reading\n"
     " -s  changes go to a temporary file\n"
     " -t  cache mode\n"
     " -U  even while another program may write to it\n",
     io_open},
    {"quit", "q", 0, any, false, false, "", "quit -- exit the program", "", io_quit},
    {"read", "r", 2, any, true, false, "bCl:pP:qs:v",
     "read [-abCqv] [-P pattern [-s off] [-l len]] off len -- reads a number of bytes at a specified offset",
     " 'read -v 512 1k' - shows 1 KiB from byte 512 on\n\n"
     " -b  from the VM state, not from the disk\n"
     " -C  figures for machines: bytes, operations, time, bytes and operations a second\n"
     " -l  with -P: how many bytes are compared\n"
     " -p  without effect\n"
     " -P  compare with this byte\n"
     " -q  no figures\n"
     " -s  with -P: the first byte that is compared\n"
     " -v  show the bytes\n",
     io_read},
    {"readv", "", 2, any, true, false, "CP:qv",
     "readv [-Cqv] [-P pattern] off len [len..] -- reads a number of bytes at a specified offset",
     " Reads into as many buffers as there are lengths.\n"
     " 'readv -v 512 1k 1k' - shows 2 KiB from byte 512 on\n\n"
     " -C  figures for machines: bytes, operations, time, bytes and operations a second\n"
     " -P  compare with this byte\n"
     " -q  no figures\n"
     " -v  show the bytes\n",
     io_readv},
    {"remove_break", "", 1, 1, true, false, "", "remove_break tag -- remove a breakpoint by tag", "",
     io_no_breakpoints},
    {"reopen", "", 0, any, true, false, "c:o:rw",
     "reopen [(-r|-w)] [-c cache] [-o options] -- reopens an image with new options",
     " 'reopen -r' - for reading from now on\n\n"
     " -c  cache mode\n"
     " -o  options of the format, such as lazy-refcounts=on: taken, without effect\n"
     " -r  for reading\n"
     " -w  for writing\n",
     io_reopen},
    {"resume", "", 1, 1, true, false, "", "resume tag -- resumes the request tagged as tag", "",
     io_no_breakpoints},
    {"sigraise", "", 1, 1, false, false, "", "sigraise signal -- raises a signal",
     " 'sigraise 9' - ends the program as `kill -9` would: what was not flushed is lost\n", io_sigraise},
    {"sleep", "", 1, 1, false, false, "", "sleep -- waits for the given value in milliseconds", "", io_sleep},
    {"truncate", "t", 1, 3, true, true, "m:",
     "truncate [-m prealloc_mode] off -- truncates the current file at the given offset", "", io_truncate},
    {"wait_break", "", 1, 1, true, false, "", "wait_break tag -- waits for the suspension of a request", "",
     io_no_breakpoints},
    {"write", "w", 2, any, true, true, "bcCfnpP:qs:uz",
     "write [-bcCfnquz] [-P pattern | -s source_file] off len -- writes a number of bytes at a specified "
     "offset",
     " 'write -P 7 512 1k' - writes 1 KiB at byte 512\n\n"
     " -b  to the VM state, not to the disk\n"
     " -c  compressed, whole clusters\n"
     " -C  figures for machines: bytes, operations, time, bytes and operations a second\n"
     " -f  durable when it is done\n"
     " -n  with -z: only if no bytes need be written\n"
     " -p  without effect\n"
     " -P  the byte to write; 0xcd when not given\n"
     " -q  no figures\n"
     " -s  write what this file holds, again and again if it is shorter\n"
     " -u  with -z: the space may be given back\n"
     " -z  write zeroes without writing bytes\n",
     io_write},
    {"writev", "", 2, any, true, true, "CfP:q",
     "writev [-Cfq] [-P pattern] off len [len..] -- writes a number of bytes at a specified offset",
     " Writes from as many buffers as there are lengths.\n"
     " 'writev -P 7 512 1k 1k' - writes 2 KiB at byte 512\n\n"
     " -C  figures for machines: bytes, operations, time, bytes and operations a second\n"
     " -f  durable when it is done\n"
     " -P  the byte to write; 0xcd when not given\n"
     " -q  no figures\n",
     io_writev},
});

const IoCommand* find(std::string_view name) {
  const auto found = std::ranges::find_if(
      table, [&](const IoCommand& c) { return c.name == name || (!c.alias.empty() && c.alias == name); });
  return found == table.end() ? nullptr : &*found;
}

bool io_quit(IoSession& session, const IoCommand& /*command*/, const IoLine& /*line*/) {
  session.quit = true;
  return true;
}

bool io_help(IoSession& session, const IoCommand& /*command*/, const IoLine& line) {
  if (line.operands.empty()) {
    for (const auto& command : table) session.print(fmt::format("{}\n", command.usage));
    session.print("\nUse 'help commandname' for extended help.\n");
    return true;
  }
  const auto* const command = find(line.operands.front());
  if (command == nullptr) {
    session.print(fmt::format("command {} not found\n", line.operands.front()));
    return false;
  }
  session.print(fmt::format("{}\n", command->usage));
  if (!command->help.empty()) session.print(fmt::format("\n{}", command->help));
  return true;
}

std::string expected(const IoCommand& command) {
  if (command.most == any) return fmt::format("at least {}", command.least);
  if (command.most == command.least) return fmt::format("{}", command.least);
  return fmt::format("between {} and {}", command.least, command.most);
}

}  // namespace

bool run_io_line(IoSession& session, std::string_view text) {
  const auto words = io_words(text);
  if (words.empty()) return true;
  const auto* const command = find(words.front());
  if (command == nullptr) {
    session.complain_bare(fmt::format("command \"{}\" not found", words.front()));
    return false;
  }
  if (command->needs_file && !session.is_open()) {
    session.complain_bare("no file open, try 'help open'");
    return false;
  }
  const int count = static_cast<int>(words.size()) - 1;
  if (count < command->least || (command->most != any && count > command->most)) {
    session.complain_bare(fmt::format("bad argument count {} to {}, expected {} arguments", count,
                                      words.front(), expected(*command)));
    return false;
  }
  if (command->changes && session.read_only()) {
    session.complain("Block node is read-only");
    return false;
  }
  if (command->changes) {
    if (const auto free = session.may_change(); !free) {
      session.complain(about(session.how().file, free.error()));
      return false;
    }
  }
  if (!command->letters.empty())
    return command->run(session, *command, parse_io_line(words, command->letters));
  return command->run(
      session, *command,
      {.command = words.front(), .options = {}, .operands = {words.begin() + 1, words.end()}});
}

bool open_io_file(IoSession& session, IoOpening how) {
  const std::string file = how.file;
  const auto opened = session.open(std::move(how));
  if (!opened) session.complain(about(file, opened.error()));
  return opened.has_value();
}

bool io_misused(IoSession& session, const IoCommand& command) {
  session.print(fmt::format("{}\n", command.usage));
  return false;
}

std::optional<std::uint64_t> io_take_number(IoSession& session, std::string_view text) {
  const auto number = io_number(text);
  if (number) return *number;
  session.print(number.error() + '\n');
  return std::nullopt;
}

bool io_wrong_option(IoSession& session, const IoCommand& command, const IoOption& option) {
  session.complain_bare(option.fault);
  return io_misused(session, command);
}

std::string_view io_reason(const base::Error& error) {
  if (error.os_error != 0) return ::strerrordesc_np(error.os_error);
  switch (error.kind) {
    case base::ErrorKind::usage: return ::strerrordesc_np(ENOTSUP);
    case base::ErrorKind::limit: return ::strerrordesc_np(ENOSPC);
    default: return ::strerrordesc_np(EIO);
  }
}

bool io_failed(IoSession& session, std::string_view what, const base::Error& error) {
  session.print(fmt::format("{} failed: {}\n", what, io_reason(error)));
  return false;
}

}  // namespace cowvet::cli
