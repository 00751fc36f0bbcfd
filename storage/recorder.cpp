#include "storage/recorder.hpp"

namespace cowvet::storage {

base::Result<void> Recorder::write(std::uint64_t offset, base::ConstBytes bytes) {
  const std::scoped_lock lock(mutex_);
  auto result = under().write(offset, bytes);
  if (result) events_.push_back({Event::Kind::write, offset, {bytes.begin(), bytes.end()}});
  return result;
}

base::Result<void> Recorder::resize(std::uint64_t size) {
  const std::scoped_lock lock(mutex_);
  auto result = under().resize(size);
  if (result) events_.push_back({Event::Kind::resize, size, {}});
  return result;
}

base::Result<void> Recorder::flush() {
  const std::scoped_lock lock(mutex_);
  auto result = under().flush();
  if (result) events_.push_back({Event::Kind::flush, 0, {}});
  return result;
}

base::Result<void> Recorder::discard(std::uint64_t offset, std::uint64_t length) {
  const std::scoped_lock lock(mutex_);
  auto result = under().discard(offset, length);
  if (result) events_.push_back({Event::Kind::discard, offset, {}, length});
  return result;
}

base::Result<void> Recorder::zero(std::uint64_t offset, std::uint64_t length) {
  const std::scoped_lock lock(mutex_);
  auto result = under().zero(offset, length);
  if (result) events_.push_back({Event::Kind::zero, offset, {}, length});
  return result;
}

base::Result<void> Recorder::preallocate(std::uint64_t offset, std::uint64_t length) {
  const std::scoped_lock lock(mutex_);
  const std::uint64_t before = size();
  auto result = under().preallocate(offset, length);
  if (result && size() != before) events_.push_back({Event::Kind::resize, size(), {}});
  return result;
}

std::vector<Event> Recorder::events() const {
  const std::scoped_lock lock(mutex_);
  return events_;
}

}  // namespace cowvet::storage
