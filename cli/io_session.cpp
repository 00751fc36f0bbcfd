#include "cli/io_session.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <utility>

#include <unistd.h>

#include "base/progress.hpp"
#include "engine/create.hpp"
#include "format/geometry.hpp"
#include "storage/file.hpp"

namespace cowvet::cli {

namespace {

// A file in the folder for temporary ones that vanishes with this value; what has it open keeps it.
class TemporaryFile {
 public:
  TemporaryFile() {
    const char* const folder = std::getenv("TMPDIR");
    name_ = std::string(folder != nullptr && *folder != '\0' ? folder : "/var/tmp") + "/cowvet-XXXXXX";
    const int fd = ::mkstemp(name_.data());
    if (fd < 0)
      name_.clear();
    else
      ::close(fd);
  }
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;
  ~TemporaryFile() {
    std::error_code ignored;
    if (!name_.empty()) std::filesystem::remove(name_, ignored);
  }
  [[nodiscard]] const std::string& name() const { return name_; }  // empty: none could be made

 private:
  std::string name_;
};

// An overlay that is as large as the file, which stays as it is.
base::Result<std::unique_ptr<engine::OpenImage>> open_snapshot(const IoOpening& how) {
  auto below = open_disk(how.file, how.words, {.format = image_format(how.format)});
  if (!below) return below;
  const TemporaryFile file;
  if (file.name().empty())
    return base::fail(base::ErrorKind::io,
                      "no temporary file could be made: set TMPDIR to a folder with room", errno);
  {
    const auto device = storage::create_file(file.name());
    if (!device) return std::unexpected(device.error());
    base::Progress progress;
    if (auto made = engine::create_qcow2(**device, nullptr, {.size = (*below)->disk().size()}, progress);
        !made)
      return std::unexpected(made.error());
  }
  engine::ChainOptions options{.format = engine::ImageFormat::qcow2,
                               .writable = true,
                               .backing = (*below)->file(),
                               .backing_format = (*below)->format()};
  below->reset();
  DiskWords words = how.words;
  words.image_options = false;
  return open_disk(file.name(), words, options);
}

}  // namespace

bool known_cache_mode(std::string_view mode) {
  constexpr std::array<std::string_view, 6> modes{"none",         "off",        "writeback",
                                                  "writethrough", "directsync", "unsafe"};
  return std::ranges::find(modes, mode) != modes.end();
}

bool known_discard_mode(std::string_view mode) {
  constexpr std::array<std::string_view, 4> modes{"ignore", "off", "unmap", "on"};
  return std::ranges::find(modes, mode) != modes.end();
}

bool known_aio_mode(std::string_view mode) {
  constexpr std::array<std::string_view, 3> modes{"threads", "native", "io_uring"};
  return std::ranges::find(modes, mode) != modes.end();
}

void IoSession::complain_bare(std::string_view text) {
  (void)console_.flush();
  Console::write_stderr(std::string(text) + '\n');
}

base::Result<void> IoSession::open(IoOpening how) {
  auto image = how.snapshot ? open_snapshot(how)
                            : open_disk(how.file, how.words,
                                        {.format = image_format(how.format), .writable = !how.read_only});
  if (!image) return std::unexpected(std::move(image.error()));
  image_ = std::move(*image);
  how_ = std::move(how);
  return {};
}

base::Result<void> IoSession::reopen(bool read_only, const std::string& cache) {
  if (!cache.empty()) how_.words.cache = cache;
  if (read_only == how_.read_only) return {};
  IoOpening after = how_;
  after.read_only = read_only;
  if (!how_.snapshot) return open_again(std::move(after));
  how_ = std::move(after);  // the temporary file can't be opened again
  return {};
}

base::Result<void> IoSession::open_again(IoOpening how) {
  IoOpening before = how_;
  if (auto closed = close(); !closed) return closed;
  auto opened = open(std::move(how));
  if (!opened) (void)open(std::move(before));
  return opened;
}

base::Result<void> IoSession::resize(std::uint64_t size, engine::Preallocation preallocation) {
  using engine::Preallocation;
  if (auto* const qcow2 = image_->qcow2()) {
    if (size % format::limits::sector != 0)
      return base::fail(base::ErrorKind::usage, "The new size must be a multiple of 512");
    if (auto done = qcow2->resize(size, preallocation); !done) return done;
    return settle(false);
  }
  auto& device = image_->device();
  if (preallocation == Preallocation::metadata)
    return base::fail(base::ErrorKind::usage,
                      "a raw image has no metadata to preallocate: use off, falloc or full");
  if (preallocation != Preallocation::off && size > device.size())
    if (auto taken = device.preallocate(device.size(), size - device.size()); !taken) return taken;
  if (auto done = device.resize(size); !done) return done;
  return open_again(how_);  // a raw disk is as large as its file was when it was opened
}

base::Result<void> IoSession::may_change() {
  if (how_.snapshot || how_.guard.force) return {};
  auto free = refuse_with_overlays(how_.file, how_.words.image_options, how_.guard);
  how_.guard.force = free.has_value();  // looked for once
  return free;
}

base::Result<void> IoSession::close() {
  tell_pending();
  auto closed = image_->close();
  image_.reset();
  return closed;
}

base::Result<void> IoSession::settle(bool force) {
  const auto& mode = how_.words.cache;
  return force || mode == "writethrough" || mode == "directsync" ? image_->disk().flush()
                                                                 : base::Result<void>{};
}

void IoSession::tell_pending() {
  if (pending_.empty()) return;
  console_.print(pending_);
  pending_.clear();
}

}  // namespace cowvet::cli
