// The program: runs what the command line asks for and ends with its code.
#include <csignal>
#include <cstdlib>
#include <span>

#include <malloc.h>

#include "cli/console.hpp"
#include "cli/program.hpp"
#include "cli/verbs.hpp"

int main(int argc, char** argv) {
  using namespace cowvet::cli;
  // glibc would raise this threshold with each large block that is freed, and keep the next ones: a check's peak memory
  // would be that of all its steps together.
  (void)mallopt(M_MMAP_THRESHOLD, 1 << 20);
  (void)mallopt(M_TRIM_THRESHOLD, 1 << 20);  // to give back less costs more than it saves
  // Each thread would get a heap of its own, and what one of them has given back is of no use to the others.
  (void)mallopt(M_ARENA_MAX, 2);
  (void)std::signal(SIGPIPE, SIG_IGN);  // a closed pipe is an error of write(), which Console knows
  call_as(program_named(argc > 0 ? argv[0] : ""));
  Console console(name_of(called_as()));
  const std::span<char* const> arguments(argv, static_cast<std::size_t>(argc));
  const Exit code = run(arguments.subspan(argc > 0 ? 1 : 0), console);
  return static_cast<int>(console.flush() ? code : worse(code, Exit::failed));
}
