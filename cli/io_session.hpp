// The file that an `io` session has open, and what its commands share. Promises: changes of a file opened read-only are
// refused before anything happens; a request that leaves the disk touches nothing; buffers stay small
// whatever is asked for.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "cli/console.hpp"
#include "cli/disks.hpp"
#include "cli/overlay_guard.hpp"
#include "engine/chain.hpp"

namespace cowvet::cli {

struct IoOpening {  // how a file is opened
  std::string file, format;
  DiskWords words;  // --object, --image-opts, -U, -t, --io
  bool read_only = false;
  OverlayGuard guard;
  bool snapshot = false;  // changes go to a temporary file that nobody keeps
  bool unmap = true;      // -d: whether discarding has an effect
};

// Whether a mode has a name that qemu-io knows: -t, -d, -i.
[[nodiscard]] bool known_cache_mode(std::string_view mode);
[[nodiscard]] bool known_discard_mode(std::string_view mode);
[[nodiscard]] bool known_aio_mode(std::string_view mode);

class IoSession {
 public:
  // `defaults`: how files are opened unless a command says otherwise.
  IoSession(Console& console, IoOpening defaults) : console_(console), defaults_(std::move(defaults)) {}

  [[nodiscard]] Console& console() { return console_; }
  void print(std::string_view text) { console_.print(text); }
  // A line on stderr, after what was printed so far: with the program's name in front, or bare as qemu-io
  // says some things.
  void complain(std::string_view text) { console_.complain(text); }
  void complain_bare(std::string_view text);

  [[nodiscard]] bool is_open() const { return image_ != nullptr; }
  [[nodiscard]] bool read_only() const { return how_.read_only; }
  [[nodiscard]] const IoOpening& how() const { return how_; }
  [[nodiscard]] engine::OpenImage& image() { return *image_; }
  [[nodiscard]] const IoOpening& defaults() const { return defaults_; }
  [[nodiscard]] base::Result<void> open(IoOpening how);
  // Opens the same file with another permission or cache mode; if that fails, as it was.
  [[nodiscard]] base::Result<void> reopen(bool read_only, const std::string& cache);
  [[nodiscard]] base::Result<void> close();
  // Asked before the first change: whether overlays stand on the file (overlay_guard.hpp).
  [[nodiscard]] base::Result<void> may_change();

  [[nodiscard]] base::Result<void> resize(std::uint64_t size, engine::Preallocation preallocation);
  // Makes a change durable when it asks for that, or the cache mode does.
  [[nodiscard]] base::Result<void> settle(bool force);

  // What asynchronous requests have to say, until it is due.
  [[nodiscard]] std::string& pending() { return pending_; }
  void tell_pending();

  bool quit = false;

 private:
  [[nodiscard]] base::Result<void> open_again(IoOpening how);

  Console& console_;
  IoOpening defaults_, how_;
  std::unique_ptr<engine::OpenImage> image_;
  std::string pending_;
};

}  // namespace cowvet::cli
