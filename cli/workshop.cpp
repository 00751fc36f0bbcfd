#include "cli/workshop.hpp"

#include <cerrno>
#include <csignal>
#include <fstream>

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fmt/format.h>

#include "cli/console.hpp"

namespace cowvet::cli {

namespace {

namespace fs = std::filesystem;
using base::ErrorKind;
using Clock = std::chrono::steady_clock;

constexpr std::size_t most_said = 8192;  // bytes of what a program said that are kept: its end

// A shell in a process group of its own, so that all that it started can be ended with it, and Ctrl-C reaches only us.
base::Result<pid_t> start(const std::string& line, const fs::path& folder, const fs::path& said) {
  posix_spawn_file_actions_t files;
  posix_spawnattr_t attributes;
  ::posix_spawn_file_actions_init(&files);
  ::posix_spawnattr_init(&attributes);
  ::posix_spawn_file_actions_addchdir_np(&files, folder.c_str());
  ::posix_spawn_file_actions_addopen(&files, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  ::posix_spawn_file_actions_addopen(&files, STDOUT_FILENO, said.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
  ::posix_spawn_file_actions_adddup2(&files, STDOUT_FILENO, STDERR_FILENO);
  ::posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGDEF);
  ::posix_spawnattr_setpgroup(&attributes, 0);
  sigset_t usual;
  ::sigemptyset(&usual);
  for (const int number : {SIGINT, SIGTERM, SIGPIPE}) ::sigaddset(&usual, number);
  ::posix_spawnattr_setsigdefault(&attributes, &usual);
  std::string shell = "sh", option = "-c", words = line;
  char* const arguments[] = {shell.data(), option.data(), words.data(), nullptr};
  pid_t child = 0;
  const int failed = ::posix_spawn(&child, "/bin/sh", &files, &attributes, arguments, environ);
  ::posix_spawnattr_destroy(&attributes);
  ::posix_spawn_file_actions_destroy(&files);
  if (failed != 0) return base::fail(ErrorKind::io, "a shell can't be started", failed);
  return child;
}

enum class Ended : std::uint8_t { itself, late, unwanted };

Ended wait_for(pid_t child, const base::Progress& progress, std::chrono::seconds patience) {
  const auto late = Clock::now() + patience;
  pollfd over{.fd = static_cast<int>(::syscall(SYS_pidfd_open, child, 0)), .events = POLLIN, .revents = 0};
  auto ended = Ended::itself;
  while (true) {
    // A signal ends poll() before its time. Without a pidfd it only sleeps.
    constexpr int pause_ms = 100;
    const bool sleeps = over.fd < 0;
    if (::poll(&over, sleeps ? 0 : 1, sleeps ? 1 : pause_ms) > 0) break;
    siginfo_t info{};
    if (sleeps && ::waitid(P_PID, static_cast<id_t>(child), &info, WEXITED | WNOHANG | WNOWAIT) == 0 &&
        info.si_pid == child)
      break;
    if (progress.stop_requested()) ended = Ended::unwanted;
    if (Clock::now() > late) ended = Ended::late;
    if (ended != Ended::itself) break;
  }
  if (over.fd >= 0) ::close(over.fd);
  if (ended != Ended::itself) ::kill(-child, SIGKILL);
  return ended;
}

std::string end_of(const fs::path& file) {
  const auto text = read_file(file).value_or("");
  return text.size() > most_said ? "…" + text.substr(text.size() - most_said) : text;
}

}  // namespace

base::Result<std::unique_ptr<Workshop>> Workshop::make() {
  std::error_code error;
  auto pattern = (fs::temp_directory_path(error) / "cowvet-XXXXXX").string();
  if (error || ::mkdtemp(pattern.data()) == nullptr)
    return base::fail(ErrorKind::io, "no scratch folder can be made: set TMPDIR to a folder with room",
                      errno);
  std::unique_ptr<Workshop> made(new Workshop(pattern));
  if (!fs::create_directory(made->folder(), error))
    return base::fail(ErrorKind::io, pattern + ": " + error.message());
  return made;
}

Workshop::~Workshop() {
  std::error_code ignored;
  fs::remove_all(root_, ignored);
}

std::string Workshop::first_line(const std::string& file) const {
  std::ifstream in(folder() / file);
  std::string line;
  std::getline(in, line);
  return line;
}

base::Result<std::optional<std::string>> Workshop::run(const std::string& line,
                                                       const base::Progress& progress,
                                                       std::chrono::seconds patience) const {
  using Said = std::optional<std::string>;
  const auto said = root_ / "said";
  const auto child = start(line, folder(), said);
  if (!child) return std::unexpected(child.error());
  const auto ended = wait_for(*child, progress, patience);
  int status = 0;
  while (::waitpid(*child, &status, 0) < 0 && errno == EINTR) {
  }
  if (ended == Ended::unwanted) return base::fail(ErrorKind::cancelled, "stopped");
  if (ended == Ended::late)
    return Said(fmt::format("{}\n{}still running after {} s", line, end_of(said), patience.count()));
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return Said{};
  return Said(fmt::format("{}\n{}{} {}", line, end_of(said),
                          WIFEXITED(status) ? "exit status" : "ended by signal",
                          WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status)));
}

}  // namespace cowvet::cli
