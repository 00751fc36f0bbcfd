#include "storage/overlay.hpp"

#include <algorithm>
#include <cerrno>
#include <iterator>
#include <mutex>

#include "base/checked.hpp"
#include "storage/batch.hpp"

namespace cowvet::storage {

namespace {

// Bytes written one behind the other are kept together up to this length.
constexpr std::size_t segment_limit = 64 * 1024;

std::uint64_t end_of(const auto& segment) { return segment.first + segment.second.size(); }

}  // namespace

std::uint64_t Overlay::size() const {
  const std::shared_lock lock(mutex_);
  return size_;
}

std::uint64_t Overlay::allocated() const {
  const std::shared_lock lock(mutex_);
  return base_.allocated() + written(0, UINT64_MAX);
}

Overlay::Segments::const_iterator Overlay::from(std::uint64_t offset) const {
  auto segment = segments_.upper_bound(offset);
  if (segment != segments_.begin() && end_of(*std::prev(segment)) > offset) --segment;
  return segment;
}

// How many bytes of [begin, end) were written.
std::uint64_t Overlay::written(std::uint64_t begin, std::uint64_t end) const {
  std::uint64_t sum = 0;
  for (auto segment = from(begin); segment != segments_.end() && segment->first < end; ++segment)
    sum += std::min(end, end_of(*segment)) - std::max(begin, segment->first);
  return sum;
}

void Overlay::read(std::span<ReadRequest> batch) const {
  const std::shared_lock lock(mutex_);
  std::vector<ReadRequest> asked;
  std::vector<std::size_t> askers;
  for (std::size_t i = 0; i < batch.size(); ++i) {
    auto& request = batch[i];
    prepare(request, size_);
    if (request.valid == 0) continue;
    request.hole = true;
    const std::uint64_t seen =
        request.offset < base_end_ ? std::min(request.valid, base_end_ - request.offset) : 0;
    std::ranges::fill(request.into.subspan(static_cast<std::size_t>(seen)), std::byte{0});
    if (written(request.offset, request.offset + seen) == seen) continue;
    asked.push_back({.offset = request.offset, .into = request.into.first(static_cast<std::size_t>(seen))});
    askers.push_back(i);
  }
  if (!asked.empty()) base_.read(asked);
  for (std::size_t i = 0; i < asked.size(); ++i) {
    auto& request = batch[askers[i]];
    request.hole = asked[i].hole;
    request.os_error = asked[i].os_error;
    request.bad_begin = asked[i].bad_begin;
    request.bad_end = asked[i].bad_end;
    // The base became shorter than it was: what it held there is not to be had any more, and zeros it never was.
    if (request.os_error == 0 && asked[i].valid < asked[i].into.size()) {
      request.os_error = EIO;
      request.bad_begin = asked[i].valid;
      request.bad_end = asked[i].into.size();
    }
  }
  for (auto& request : batch) apply(request);
}

// Lays the written bytes over what came from the base.
void Overlay::apply(ReadRequest& request) const {
  const std::uint64_t end = request.offset + request.valid;
  for (auto segment = from(request.offset); segment != segments_.end() && segment->first < end; ++segment) {
    const std::uint64_t begin = std::max(request.offset, segment->first);
    const std::uint64_t length = std::min(end, end_of(*segment)) - begin;
    std::copy_n(segment->second.begin() + static_cast<std::ptrdiff_t>(begin - segment->first), length,
                request.into.begin() + static_cast<std::ptrdiff_t>(begin - request.offset));
    request.hole = false;
  }
  if (request.os_error == 0) return;
  const std::uint64_t bad = request.offset + request.bad_begin;
  const std::uint64_t bad_length = request.bad_end - request.bad_begin;
  if (written(bad, bad + bad_length) == bad_length) {
    request.os_error = 0;
    request.bad_begin = request.bad_end = 0;
  }
}

Extent Overlay::extent(std::uint64_t offset) const {
  const std::shared_lock lock(mutex_);
  auto segment = from(offset);
  if (segment != segments_.end() && segment->first <= offset) {
    Extent extent{segment->first, end_of(*segment), false};
    for (++segment; segment != segments_.end() && segment->first == extent.end; ++segment)
      extent.end = end_of(*segment);
    return extent;
  }
  const std::uint64_t before = segment == segments_.begin() ? 0 : end_of(*std::prev(segment));
  const std::uint64_t behind = segment == segments_.end() ? size_ : segment->first;
  if (offset >= base_end_) return {std::max(before, base_end_), behind, true};
  const auto under = base_.extent(offset);
  return {std::max(before, under.begin), std::min({behind, base_end_, under.end}), under.hole};
}

base::Result<void> Overlay::write(std::uint64_t offset, base::ConstBytes bytes) {
  const auto end = base::checked_add(offset, bytes.size());
  if (!end || *end > INT64_MAX)
    return base::fail(base::ErrorKind::limit, "the image would become too large for any file");
  const std::unique_lock lock(mutex_);
  if (!bytes.empty()) size_ = std::max(size_, *end);
  const auto first = from(offset);
  auto segment = segments_.erase(first, first);  // the same place, for changing
  while (!bytes.empty()) {
    std::uint64_t length = bytes.size();
    if (segment == segments_.end() || segment->first > offset) {
      if (segment != segments_.end()) length = std::min(length, segment->first - offset);
      insert(segment, offset, bytes.first(static_cast<std::size_t>(length)));
    } else {
      length = std::min(length, end_of(*segment) - offset);
      std::copy_n(bytes.begin(), length,
                  segment->second.begin() + static_cast<std::ptrdiff_t>(offset - segment->first));
      ++segment;
    }
    offset += length;
    bytes = bytes.subspan(static_cast<std::size_t>(length));
  }
  return {};
}

// Adds bytes where nothing was written yet; `before` is the segment that follows.
void Overlay::insert(Segments::iterator before, std::uint64_t offset, base::ConstBytes bytes) {
  if (before != segments_.begin()) {
    auto& previous = *std::prev(before);
    if (end_of(previous) == offset && previous.second.size() + bytes.size() <= segment_limit) {
      previous.second.insert(previous.second.end(), bytes.begin(), bytes.end());
      return;
    }
  }
  segments_.emplace_hint(before, offset, std::vector<std::byte>(bytes.begin(), bytes.end()));
}

base::Result<void> Overlay::resize(std::uint64_t size) {
  if (size > INT64_MAX)
    return base::fail(base::ErrorKind::limit, "the image would become too large for any file");
  const std::unique_lock lock(mutex_);
  if (size < size_) {
    base_end_ = std::min(base_end_, size);
    segments_.erase(segments_.lower_bound(size), segments_.end());
    if (!segments_.empty()) {
      auto& last = *segments_.rbegin();
      if (end_of(last) > size) last.second.resize(static_cast<std::size_t>(size - last.first));
    }
  }
  size_ = size;
  return {};
}

std::vector<Range> Overlay::changes() const {
  const std::shared_lock lock(mutex_);
  std::vector<Range> ranges;
  const auto add = [&](std::uint64_t begin, std::uint64_t end) {
    if (begin >= end) return;
    if (!ranges.empty() && begin <= ranges.back().end)
      ranges.back().end = std::max(ranges.back().end, end);
    else
      ranges.push_back({begin, end});
  };
  const std::uint64_t cut_end = std::min(size_, base_.size());
  bool cut_told = false;
  for (const auto& segment : segments_) {
    if (!cut_told && segment.first >= base_end_) {
      add(base_end_, cut_end);
      cut_told = true;
    }
    add(segment.first, end_of(segment));
  }
  if (!cut_told) add(base_end_, cut_end);
  return ranges;
}

}  // namespace cowvet::storage
