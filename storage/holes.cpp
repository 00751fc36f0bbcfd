#include "storage/holes.hpp"

#include <algorithm>
#include <cerrno>

#include <unistd.h>

namespace cowvet::storage {

namespace {

// A read this close behind the last one is taken for a walk through a dense region; then it pays to ask where that
// region ends.
constexpr std::uint64_t walking_distance = 1024 * 1024;

// The next data at or behind `offset`; UINT64_MAX when there is none, nothing when the file system can't tell.
std::optional<std::uint64_t> next_data(int fd, std::uint64_t offset) {
  const off_t found = ::lseek(fd, static_cast<off_t>(offset), SEEK_DATA);
  if (found >= 0) return static_cast<std::uint64_t>(found);
  if (errno == ENXIO) return UINT64_MAX;
  return std::nullopt;
}

std::optional<std::uint64_t> next_hole(int fd, std::uint64_t offset) {
  const off_t found = ::lseek(fd, static_cast<off_t>(offset), SEEK_HOLE);
  if (found >= 0) return static_cast<std::uint64_t>(found);
  return std::nullopt;
}

}  // namespace

std::optional<Extent> Holes::recall(std::uint64_t offset) const {
  const std::scoped_lock lock(mutex_);
  for (const auto& extent : known_)
    if (extent.begin <= offset && offset < extent.end) return extent;
  return std::nullopt;
}

void Holes::remember(const Extent& extent, std::uint64_t generation) {
  const std::scoped_lock lock(mutex_);
  if (generation != generation_.load(std::memory_order_relaxed)) return;
  known_[next_] = extent;
  next_ = (next_ + 1) % known_.size();
}

void Holes::forget() {
  const std::scoped_lock lock(mutex_);
  generation_.fetch_add(1, std::memory_order_relaxed);
  known_.fill({});
}

bool Holes::covers(int fd, std::uint64_t begin, std::uint64_t end) {
  if (const auto known = recall(begin)) return known->hole && end <= known->end;
  const auto generation = generation_.load(std::memory_order_relaxed);
  const auto data = next_data(fd, begin);
  if (!data) {
    remember({0, UINT64_MAX, false}, generation);
    return false;
  }
  if (*data > begin) {
    remember({begin, *data, true}, generation);
    return end <= *data;
  }
  const std::uint64_t last = last_data_.exchange(end, std::memory_order_relaxed);
  if (begin >= last && begin - last <= walking_distance)
    if (const auto hole = next_hole(fd, begin)) remember({begin, *hole, false}, generation);
  return false;
}

Extent Holes::extent(int fd, std::uint64_t offset, std::uint64_t size) {
  const auto cut = [&](Extent extent) {
    return Extent{extent.begin, std::min(extent.end, size), extent.hole};
  };
  if (const auto known = recall(offset)) return cut(*known);
  const auto generation = generation_.load(std::memory_order_relaxed);
  Extent extent{offset, size, false};
  if (const auto data = next_data(fd, offset); !data) {
    extent = {0, UINT64_MAX, false};
  } else if (*data > offset) {
    extent = {offset, *data, true};
  } else if (const auto hole = next_hole(fd, offset); hole && *hole > offset) {
    extent.end = *hole;
  }
  remember(extent, generation);
  return cut(extent);
}

}  // namespace cowvet::storage
