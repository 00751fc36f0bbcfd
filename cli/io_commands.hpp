// The commands of `io`, which are qemu-io's: a table of what each takes and who carries it out. Promises:
// what qemu-io's scripts match is said in its words; every command says whether it succeeded.
#pragma once
#include <optional>
#include <string_view>

#include "cli/io_line.hpp"
#include "cli/io_session.hpp"

namespace cowvet::cli {

struct IoCommand {
  std::string_view name, alias;
  int least = 0, most = 0;  // words behind the command; most < 0: any number
  bool needs_file = true;
  bool changes = false;      // refused where the file is opened read-only
  std::string_view letters;  // options, a ':' behind those with a value; none: every word is an operand
  std::string_view usage;    // "flush -- flush all in-core file state to disk"
  std::string_view help;     // more lines for `help NAME`
  bool (*run)(IoSession& session, const IoCommand& command, const IoLine& line);
};

// Opens a file for the commands to come. False: it can't be opened, which was told.
bool open_io_file(IoSession& session, IoOpening how);

// Runs one line; an empty one does nothing. False: it failed, which was told.
bool run_io_line(IoSession& session, std::string_view line);

// Prints how a command is used. Always false.
bool io_misused(IoSession& session, const IoCommand& command);
// The number that an operand or a value stands for; nothing when it is none, which was told.
[[nodiscard]] std::optional<std::uint64_t> io_take_number(IoSession& session, std::string_view text);
// Says what is wrong with an option that is not known or lacks its value. Always false.
bool io_wrong_option(IoSession& session, const IoCommand& command, const IoOption& option);
// Why a request failed, as the operating system calls it.
[[nodiscard]] std::string_view io_reason(const base::Error& error);
// Prints "read failed: Input/output error". Always false.
bool io_failed(IoSession& session, std::string_view what, const base::Error& error);

// What carries them out: those that move data, in io_transfer.cpp; the others in io_state.cpp.
bool io_read(IoSession& session, const IoCommand& command, const IoLine& line);
bool io_readv(IoSession& session, const IoCommand& command, const IoLine& line);
bool io_write(IoSession& session, const IoCommand& command, const IoLine& line);
bool io_writev(IoSession& session, const IoCommand& command, const IoLine& line);
bool io_aio_read(IoSession& session, const IoCommand& command, const IoLine& line);
bool io_aio_write(IoSession& session, const IoCommand& command, const IoLine& line);
bool io_discard(IoSession& session, const IoCommand& command, const IoLine& line);
bool io_aio_flush(IoSession& session, const IoCommand& command, const IoLine& line);
bool io_flush(IoSession& session, const IoCommand& command, const IoLine& line);
bool io_truncate(IoSession& session, const IoCommand& command, const IoLine& line);
bool io_length(IoSession& session, const IoCommand& command, const IoLine& line);
bool io_info(IoSession& session, const IoCommand& command, const IoLine& line);
bool io_alloc(IoSession& session, const IoCommand& command, const IoLine& line);
bool io_map(IoSession& session, const IoCommand& command, const IoLine& line);
bool io_open(IoSession& session, const IoCommand& command, const IoLine& line);
bool io_reopen(IoSession& session, const IoCommand& command, const IoLine& line);
bool io_close(IoSession& session, const IoCommand& command, const IoLine& line);
bool io_sleep(IoSession& session, const IoCommand& command, const IoLine& line);
bool io_sigraise(IoSession& session, const IoCommand& command, const IoLine& line);
bool io_no_breakpoints(IoSession& session, const IoCommand& command, const IoLine& line);
bool io_abort(IoSession& session, const IoCommand& command, const IoLine& line);

}  // namespace cowvet::cli
