#include "cli/console.hpp"

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <system_error>

#include <fcntl.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <fmt/format.h>

namespace cowvet::cli {

namespace {

constexpr std::size_t write_at_once = 64 * 1024;

// Writes all of it; 0 or errno.
int write_all(int fd, std::string_view text) {
  while (!text.empty()) {
    const ssize_t written = ::write(fd, text.data(), text.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return errno;
    text.remove_prefix(static_cast<std::size_t>(written));
  }
  return 0;
}

}  // namespace

void Console::print(std::string_view text) {
  pending_ += text;
  settle();
}

void Console::settle() {
  if (pending_.size() >= write_at_once) (void)flush();
}

void Console::complain(std::string_view message) {
  (void)flush();
  write_stderr(fmt::format("{}: {}\n", program_, message));
}

bool Console::flush() {
  if (!pending_.empty() && !broken_) {
    if (const int error = write_all(STDOUT_FILENO, pending_); error != 0) {
      broken_ = true;
      // A reader that has seen enough (`| head`) is no news.
      if (error != EPIPE) {
        const auto why = std::generic_category().message(error);
        write_stderr(fmt::format("{}: the output can't be written: {}\n", program_, why));
      }
    }
  }
  pending_.clear();
  return !broken_;
}

bool Console::colored(Color wish) {
  if (wish != Color::automatic) return wish == Color::always;
  const char* no_color = std::getenv("NO_COLOR");
  const char* terminal = std::getenv("TERM");
  const bool refused = no_color != nullptr && *no_color != '\0';
  const bool dumb = terminal == nullptr || std::string_view(terminal) == "dumb";
  return !refused && !dumb && ::isatty(STDOUT_FILENO) == 1;
}

bool Console::stderr_is_terminal() { return ::isatty(STDERR_FILENO) == 1; }

unsigned Console::terminal_width() {
  winsize size{};
  if (::ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0) return 100;
  return std::clamp<unsigned>(size.ws_col, 60, 160);
}

void Console::write_stderr(std::string_view text) { (void)write_all(STDERR_FILENO, text); }

base::Result<void> write_file(const std::string& file, std::string_view text) {
  const int fd = ::open(file.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  int error = fd < 0 ? errno : write_all(fd, text);
  if (fd >= 0 && ::close(fd) != 0 && error == 0) error = errno;
  if (error == 0) return {};
  return base::fail(base::ErrorKind::io, "can't be written: " + std::generic_category().message(error),
                    error);
}

base::Result<std::string> read_file(const std::string& file) {
  std::ifstream in(file, std::ios::binary);
  std::string text(std::istreambuf_iterator<char>(in), {});
  if (!in.is_open() || in.bad())
    return base::fail(base::ErrorKind::not_found, "can't be read: check the name", errno);
  return text;
}

}  // namespace cowvet::cli
