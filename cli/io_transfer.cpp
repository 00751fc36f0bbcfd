// The commands of `io` that move data. A large request is carried out in parts, so that memory stays small; whether it
// leaves the disk is known before the first.
#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <vector>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fmt/format.h>

#include "cli/io_commands.hpp"
#include "cli/io_report.hpp"
#include "engine/qcow2_disk.hpp"
#include "format/geometry.hpp"

namespace cowvet::cli {

namespace {

using base::ErrorKind;

constexpr std::uint64_t most_bytes = 2147483136;  // of a request, as qemu-io has it
constexpr std::uint64_t part_bytes = 4ULL << 20;  // carried out at once: whole clusters of any size
constexpr std::size_t most_pending = 1 << 20;     // bytes of what asynchronous requests have to say
constexpr std::byte usual_pattern{0xcd};

// What to fill a write with: a byte, or what a file holds, again and again.
class Content {
 public:
  explicit Content(std::byte pattern) : pattern_(pattern) {}
  Content(Content&& other) noexcept
      : pattern_(other.pattern_), fd_(std::exchange(other.fd_, -1)), size_(other.size_) {}
  Content(const Content&) = delete;
  Content& operator=(const Content&) = delete;
  Content& operator=(Content&&) = delete;
  ~Content() {
    if (fd_ >= 0) ::close(fd_);
  }

  // Error: "FILE: No such file or directory".
  static std::expected<Content, std::string> of_file(const std::string& file) {
    Content content(usual_pattern);
    struct stat status{};
    content.fd_ = ::open(file.c_str(), O_RDONLY | O_CLOEXEC);
    if (content.fd_ < 0 || ::fstat(content.fd_, &status) != 0)
      return std::unexpected(fmt::format("{}: {}", file, ::strerrordesc_np(errno)));
    if (S_ISDIR(status.st_mode))
      return std::unexpected(fmt::format("{}: {}", file, ::strerrordesc_np(EISDIR)));
    content.size_ = static_cast<std::uint64_t>(status.st_size);
    if (content.size_ == 0) return std::unexpected(file + ": file is empty");
    return content;
  }

  // The bytes that belong at `at` of the request. False: the file could not be read.
  [[nodiscard]] bool fill(std::uint64_t at, base::MutableBytes bytes) const {
    if (fd_ < 0) {
      std::ranges::fill(bytes, pattern_);
      return true;
    }
    while (!bytes.empty()) {
      const std::uint64_t from = at % size_;
      const auto most = static_cast<std::size_t>(std::min<std::uint64_t>(bytes.size(), size_ - from));
      const ssize_t got = ::pread(fd_, bytes.data(), most, static_cast<off_t>(from));
      if (got <= 0) return false;
      at += static_cast<std::uint64_t>(got);
      bytes = bytes.subspan(static_cast<std::size_t>(got));
    }
    return true;
  }

 private:
  std::byte pattern_;
  int fd_ = -1;
  std::uint64_t size_ = 0;
};

// What a command's options and operands ask for.
struct Transfer {
  bool vm_state = false, compressed = false, machine = false, durable = false, invalid = false,
       strict = false;
  bool quiet = false, unmap = false, dump = false, zero = false;
  std::optional<std::uint8_t> pattern;
  std::optional<std::uint64_t> first, length;  // of what the pattern is compared with
  std::string source;
  std::uint64_t at = 0, bytes = 0;
};

// Options in the order of the line: the first that is wrong is told.
bool take_options(IoSession& session, const IoCommand& command, const IoLine& line, Transfer& t) {
  for (const auto& option : line.options) {
    switch (option.letter) {
      case 'b': t.vm_state = true; break;
      case 'c': t.compressed = true; break;
      case 'C': t.machine = true; break;
      case 'f': t.durable = true; break;
      case 'i': t.invalid = true; break;
      case 'n': t.strict = true; break;
      case 'p': break;
      case 'q': t.quiet = true; break;
      case 'u': t.unmap = true; break;
      case 'v': t.dump = true; break;
      case 'z': t.zero = true; break;
      case 'l':
        t.length = io_take_number(session, option.value);
        if (!t.length) return false;
        break;
      case 'P':
        t.pattern = io_pattern(option.value);
        if (!t.pattern) {
          session.print(fmt::format("{} is not a valid pattern byte\n", option.value));
          return false;
        }
        break;
      case 's':
        if (command.changes) {
          t.source = option.value;
          break;
        }
        t.first = io_take_number(session, option.value);
        if (!t.first) return false;
        break;
      default: return io_wrong_option(session, command, option);
    }
  }
  return true;
}

// An offset and one length.
bool take_range(IoSession& session, const IoCommand& command, const IoLine& line, Transfer& t) {
  if (line.operands.size() != 2) return io_misused(session, command);
  const auto at = io_take_number(session, line.operands[0]);
  const auto bytes = at ? io_take_number(session, line.operands[1]) : std::nullopt;
  if (!bytes) return false;
  if (*bytes > most_bytes && !t.strict) {
    session.print(fmt::format("length cannot exceed {}{}, given {}\n", most_bytes,
                              command.name == "write" ? " without -n" : "", line.operands[1]));
    return false;
  }
  t.at = *at;
  t.bytes = *bytes;
  return true;
}

// An offset and lengths, which are added up.
bool take_vector(IoSession& session, const IoCommand& command, const IoLine& line, Transfer& t) {
  if (line.operands.size() < 2) return io_misused(session, command);
  const auto at = io_take_number(session, line.operands[0]);
  if (!at) return false;
  t.at = *at;
  for (std::size_t i = 1; i < line.operands.size(); ++i) {
    const auto bytes = io_take_number(session, line.operands[i]);
    if (!bytes) return false;
    if (*bytes > most_bytes) {
      session.print(fmt::format("Argument '{}' exceeds maximum size {}\n", line.operands[i], most_bytes));
      return false;
    }
    if (*bytes > most_bytes - t.bytes) {
      session.print(fmt::format("The total number of bytes exceed the maximum size {}\n", most_bytes));
      return false;
    }
    t.bytes += *bytes;
  }
  return true;
}

// VM state and compressed clusters are addressed by sectors.
bool in_sectors(IoSession& session, const IoLine& line, const Transfer& t) {
  for (const auto& [value, index, name] : {std::tuple{t.at, 0, "offset"}, std::tuple{t.bytes, 1, "count"}}) {
    if (value % format::limits::sector == 0) continue;
    session.print(fmt::format("{} is not a sector-aligned value for '{}'\n",
                              line.operands[static_cast<std::size_t>(index)], name));
    return false;
  }
  return true;
}

// Calls act(offset in the request, bytes) for its parts, up to the first that fails.
template <class Act>
base::Result<void> in_parts(std::uint64_t bytes, Act&& act) {
  for (std::uint64_t done = 0; done < bytes;) {
    const auto part = std::min(part_bytes, bytes - done);
    if (base::Result<void> result = act(done, static_cast<std::size_t>(part)); !result) return result;
    done += part;
  }
  return {};
}

base::Result<void> outside() { return base::fail(ErrorKind::io, "the request leaves the disk", EIO); }

base::Result<void> may_reach(IoSession& session, const Transfer& t) {
  auto& image = session.image();
  if (t.vm_state)
    return image.qcow2() != nullptr ? base::Result<void>{}
                                    : base::fail(ErrorKind::usage, "a raw image holds no VM state", ENOTSUP);
  const std::uint64_t size = image.disk().size();
  return t.at > size || t.bytes > size - t.at ? outside() : base::Result<void>{};
}

base::Result<void> read_part(IoSession& session, const Transfer& t, std::uint64_t from,
                             base::MutableBytes into) {
  if (t.vm_state) return session.image().qcow2()->read_vm_state(t.at + from, into);
  return session.image().disk().read(base::GuestOffset{t.at + from}, into);
}

// Reads it all and compares; `differs`: the pattern is not what is there.
base::Result<void> read_all(IoSession& session, const Transfer& t, std::vector<std::byte>& buffer,
                            bool& differs) {
  const std::uint64_t first = t.first.value_or(0);
  const std::uint64_t end = first + t.length.value_or(t.bytes - first);
  return in_parts(t.bytes, [&](std::uint64_t from, std::size_t size) -> base::Result<void> {
    const auto part = base::MutableBytes(buffer).first(size);
    if (auto read = read_part(session, t, from, part); !read) return read;
    if (!t.pattern) return {};
    const auto begin = std::clamp(first, from, from + size) - from;
    const auto stop = std::clamp(end, from, from + size) - from;
    const auto compared = base::ConstBytes(part)
                              .first(static_cast<std::size_t>(std::max(begin, stop)))
                              .subspan(static_cast<std::size_t>(begin));
    differs =
        differs || !std::ranges::all_of(compared, [&](std::byte b) { return b == std::byte{*t.pattern}; });
    return {};
  });
}

using Clock = std::chrono::steady_clock;

// Does a read and appends to `out` what it has to say. False: it failed, or the pattern differs.
bool read_into(IoSession& session, const Transfer& t, std::string_view name, std::string& out) {
  const auto begin = Clock::now();
  std::vector<std::byte> buffer(static_cast<std::size_t>(std::min(part_bytes, t.bytes)));
  bool differs = false;
  auto done = may_reach(session, t);
  if (done) done = read_all(session, t, buffer, differs);
  const std::chrono::duration<double> time = Clock::now() - begin;
  if (!done) {
    out += fmt::format("{} failed: {}\n", name, io_reason(done.error()));
    return false;
  }
  if (differs)
    out += fmt::format("Pattern verification failed at offset {}, {} bytes\n", t.at + t.first.value_or(0),
                       t.length.value_or(t.bytes - t.first.value_or(0)));
  if (t.quiet) return !differs;
  if (t.dump) {
    const auto shown = in_parts(t.bytes, [&](std::uint64_t from, std::size_t size) -> base::Result<void> {
      const auto part = base::MutableBytes(buffer).first(size);
      if (size != t.bytes)
        if (auto read = read_part(session, t, from, part); !read) return read;
      for (std::size_t at = 0; at < size; at += 65536) {
        add_io_dump(out, t.at + from + at,
                    base::ConstBytes(part).subspan(at, std::min<std::size_t>(65536, size - at)));
        if (out.size() > most_pending) {
          session.print(out);
          out.clear();
        }
      }
      return {};
    });
    if (!shown) {
      out += fmt::format("{} failed: {}\n", name, io_reason(shown.error()));
      return false;
    }
  }
  out += io_report({.done = "read", .offset = t.at, .bytes = t.bytes, .time = time}, t.machine);
  return !differs;
}

base::Result<void> write_part(IoSession& session, const Transfer& t, std::uint64_t from,
                              base::ConstBytes bytes) {
  auto* const qcow2 = session.image().qcow2();
  if (t.vm_state) return qcow2->write_vm_state(t.at + from, bytes);
  if (t.compressed) return qcow2->write_compressed(base::GuestOffset{t.at + from}, bytes);
  return session.image().disk().write(base::GuestOffset{t.at + from}, bytes);
}

// Compressed clusters are written whole; the disk's last may be cut.
base::Result<void> may_compress(IoSession& session, const Transfer& t) {
  auto* const qcow2 = session.image().qcow2();
  if (qcow2 == nullptr)
    return base::fail(ErrorKind::usage, "a raw image has no compressed clusters", ENOTSUP);
  if (qcow2->header().external_data_file())
    return base::fail(ErrorKind::usage, "an external data file holds no compressed clusters", ENOTSUP);
  const std::uint64_t cluster = qcow2->geometry().cluster_size();
  if (t.at % cluster != 0 || (t.bytes % cluster != 0 && t.at + t.bytes != qcow2->size()))
    return base::fail(ErrorKind::usage, "compressed writes are of whole clusters", EINVAL);
  return {};
}

base::Result<void> write_zeros(IoSession& session, const Transfer& t) {
  auto* const qcow2 = session.image().qcow2();
  if (t.strict && qcow2 != nullptr) {
    const std::uint64_t unit = qcow2->geometry().subcluster_size();
    const bool whole = t.at % unit == 0 && (t.bytes % unit == 0 || t.at + t.bytes == qcow2->size());
    const auto there = whole ? base::Result<engine::ChainExtent>{}
                             : engine::chain_extent(session.image(), base::GuestOffset{t.at}, t.bytes);
    if (!whole && !(there && there->extent.zero && there->extent.length == t.bytes))
      return base::fail(ErrorKind::usage, "parts of clusters can only be zeroed by writing", ENOTSUP);
  }
  return session.image().disk().zero(base::GuestOffset{t.at}, t.bytes,
                                     t.unmap && session.how().unmap ? engine::Unmap::yes : engine::Unmap::no);
}

// Does a write and appends to `out` what it has to say. False: it failed.
bool write_into(IoSession& session, const Transfer& t, const Content& content, std::string_view name,
                std::string& out) {
  const auto begin = Clock::now();
  auto done = may_reach(session, t);
  if (done && t.compressed && !t.zero && !t.vm_state) done = may_compress(session, t);
  if (done && t.zero) {
    done = write_zeros(session, t);
  } else if (done) {
    std::vector<std::byte> buffer(static_cast<std::size_t>(std::min(part_bytes, t.bytes)));
    done = in_parts(t.bytes, [&](std::uint64_t from, std::size_t size) -> base::Result<void> {
      const auto part = base::MutableBytes(buffer).first(size);
      if (!content.fill(from, part))
        return base::fail(ErrorKind::io, "the pattern's file can't be read", EIO);
      return write_part(session, t, from, part);
    });
  }
  if (done) done = session.settle(t.durable);
  if (!done) {
    out += fmt::format("{} failed: {}\n", name, io_reason(done.error()));
    return false;
  }
  if (!t.quiet)
    out += io_report({.done = "wrote", .offset = t.at, .bytes = t.bytes, .time = Clock::now() - begin},
                     t.machine);
  return true;
}

// Runs a request at once; what asynchronous ones have to say comes behind it.
template <class Request>
bool at_once(IoSession& session, Request&& request) {
  std::string out;
  const bool fine = request(out);
  session.print(out);
  session.tell_pending();
  return fine;
}

// The same for one that is said to be done later.
template <class Request>
bool later(IoSession& session, Request&& request) {
  (void)request(session.pending());
  if (session.pending().size() > most_pending) session.tell_pending();
  return true;
}

Content filled_with(const Transfer& t) { return Content(t.pattern ? std::byte{*t.pattern} : usual_pattern); }

// What is wrong with a combination of options; empty when nothing is.
std::string_view contradiction(const Transfer& t) {
  if (t.vm_state && t.zero) return "-b and -z cannot be specified at the same time";
  if (t.durable && (t.vm_state || t.compressed))
    return "-f and -b or -c cannot be specified at the same time";
  if (t.strict && !t.zero) return "-n requires -z to be specified";
  if (t.unmap && !t.zero) return "-u requires -z to be specified";
  if (int{t.zero} + int{t.pattern.has_value()} + int{!t.source.empty()} > 1)
    return "Only one of -z, -P, and -s can be specified at the same time";
  return {};
}

}  // namespace

bool io_read(IoSession& session, const IoCommand& command, const IoLine& line) {
  Transfer t;
  if (!take_options(session, command, line, t) || !take_range(session, command, line, t)) return false;
  if (!t.pattern && (t.first || t.length)) return io_misused(session, command);
  const std::uint64_t first = t.first.value_or(0);
  if (first > t.bytes || t.length.value_or(0) > t.bytes - first) {
    session.print("pattern verification range exceeds end of read data\n");
    return false;
  }
  if (t.vm_state && !in_sectors(session, line, t)) return false;
  return at_once(session, [&](std::string& out) { return read_into(session, t, "read", out); });
}

bool io_readv(IoSession& session, const IoCommand& command, const IoLine& line) {
  Transfer t;
  if (!take_options(session, command, line, t) || !take_vector(session, command, line, t)) return false;
  return at_once(session, [&](std::string& out) { return read_into(session, t, "readv", out); });
}

bool io_write(IoSession& session, const IoCommand& command, const IoLine& line) {
  Transfer t;
  if (!take_options(session, command, line, t)) return false;
  if (line.operands.size() != 2) return io_misused(session, command);
  if (const auto wrong = contradiction(t); !wrong.empty()) {
    session.print(fmt::format("{}\n", wrong));
    return false;
  }
  if (!take_range(session, command, line, t)) return false;
  if ((t.vm_state || t.compressed) && !in_sectors(session, line, t)) return false;
  auto content =
      t.source.empty() ? std::expected<Content, std::string>(filled_with(t)) : Content::of_file(t.source);
  if (!content) {
    session.complain_bare(content.error());
    return false;
  }
  return at_once(session, [&](std::string& out) { return write_into(session, t, *content, "write", out); });
}

bool io_writev(IoSession& session, const IoCommand& command, const IoLine& line) {
  Transfer t;
  if (!take_options(session, command, line, t) || !take_vector(session, command, line, t)) return false;
  return at_once(session,
                 [&](std::string& out) { return write_into(session, t, filled_with(t), "writev", out); });
}

bool io_aio_read(IoSession& session, const IoCommand& command, const IoLine& line) {
  Transfer t;
  if (!take_options(session, command, line, t)) return false;
  if (t.invalid) {
    session.print("injecting invalid read request\n");
    return true;
  }
  if (!take_vector(session, command, line, t)) return false;
  return later(session, [&](std::string& out) { return read_into(session, t, "readv", out); });
}

bool io_aio_write(IoSession& session, const IoCommand& command, const IoLine& line) {
  Transfer t;
  if (!take_options(session, command, line, t)) return false;
  if (t.invalid) {
    session.print("injecting invalid write request\n");
    return true;
  }
  if (line.operands.size() < 2) return io_misused(session, command);
  if (t.zero && line.operands.size() != 2) {
    session.print("-z supports only a single length parameter\n");
    return false;
  }
  if (t.unmap && !t.zero) {
    session.print("-u requires -z to be specified\n");
    return false;
  }
  if (!take_vector(session, command, line, t)) return false;
  return later(session,
               [&](std::string& out) { return write_into(session, t, filled_with(t), "aio_write", out); });
}

bool io_discard(IoSession& session, const IoCommand& command, const IoLine& line) {
  Transfer t;
  if (!take_options(session, command, line, t) || !take_range(session, command, line, t)) return false;
  const auto begin = Clock::now();
  auto done = may_reach(session, t);
  if (done && session.how().unmap) done = session.image().disk().discard(base::GuestOffset{t.at}, t.bytes);
  if (done) done = session.settle(false);
  if (!done) return io_failed(session, "discard", done.error());
  if (!t.quiet)
    session.print(io_report(
        {.done = "discard", .offset = t.at, .bytes = t.bytes, .time = Clock::now() - begin}, t.machine));
  session.tell_pending();
  return true;
}

}  // namespace cowvet::cli
