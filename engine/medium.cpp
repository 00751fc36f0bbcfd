#include "engine/medium.hpp"

#include <cstring>

#include <fmt/format.h>

namespace cowvet::engine {

base::Result<void> complete(const storage::ReadRequest& request, std::string_view what) {
  if (request.os_error != 0)
    return base::fail(base::ErrorKind::io,
                      fmt::format("the {} at {:#x} can't be read: {}", what,
                                  request.offset + request.bad_begin, std::strerror(request.os_error)),
                      request.os_error);
  if (request.valid < request.into.size())
    return base::fail(
        base::ErrorKind::io,
        fmt::format("the {} at {:#x} reaches over the file's end: the file is cut, see cowvet check", what,
                    request.offset));
  return {};
}

base::Result<void> Medium::read(std::uint64_t offset, base::MutableBytes into, std::string_view what) const {
  return complete(device_.read(offset, into), what);
}

base::Result<void> Medium::write(std::uint64_t offset, base::ConstBytes bytes) {
  if (auto fine = usable(); !fine) return fine;
  unflushed_ = true;
  return device_.write(offset, bytes);
}

base::Result<void> Medium::write_or_end(std::uint64_t offset, base::ConstBytes bytes) {
  auto written = write(offset, bytes);
  if (!written) end(written.error());
  return written;
}

base::Result<void> Medium::reach(std::uint64_t end) {
  if (device_.size() >= end) return {};
  if (device_.is_block_device())
    return base::fail(base::ErrorKind::io, "the block device is full: the image needs a larger one");
  return resize(end);
}

base::Result<void> Medium::resize(std::uint64_t size) {
  if (auto fine = usable(); !fine) return fine;
  unflushed_ = true;
  return device_.resize(size);
}

base::Result<void> Medium::preallocate(std::uint64_t offset, std::uint64_t length) {
  if (auto fine = usable(); !fine) return fine;
  unflushed_ = true;
  return device_.preallocate(offset, length);
}

void Medium::discard(std::uint64_t offset, std::uint64_t length) {
  if (usable()) (void)device_.discard(offset, length);  // what is not given back costs space, nothing else
}

base::Result<void> Medium::flush() {
  if (auto fine = usable(); !fine) return fine;
  if (!unflushed_) return {};
  auto flushed = device_.flush();
  if (!flushed) {
    end(flushed.error());
    return flushed;
  }
  unflushed_ = false;
  return {};
}

base::Result<void> Medium::usable() const {
  if (ended_) return std::unexpected(*ended_);
  return {};
}

void Medium::end(const base::Error& error) {
  if (!ended_)
    ended_ =
        base::Error{error.kind, "nothing can be changed any more after: " + error.message, error.os_error};
}

}  // namespace cowvet::engine
