// A copy in steps:
// 1. Whoever is free takes the next step of the plan, and a slot with memory for it: there are only so many.
// 2. It reads, looks for zeros, compresses: all this goes on side by side.
// 3. Steps that are ready wait until all before them were written. Whoever makes the next one ready writes
//    it, and those that wait behind it. One writer at a time is also the fastest: two that write one file
//    spend their time at the file system's lock.
#include "engine/copy.hpp"

#include <algorithm>
#include <bit>
#include <chrono>
#include <condition_variable>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "base/parallel.hpp"
#include "base/text.hpp"
#include "engine/copy_plan.hpp"
#include "engine/lost_ranges.hpp"
#include "format/geometry.hpp"

namespace cowvet::engine {

namespace {

using Kind = CopyRun::Kind;

constexpr std::uint64_t piece_bytes = 256 << 10;  // of a step: what stays in a core's cache
constexpr std::uint64_t most_memory = 48 << 20;  // of all steps under way, without what is compressed of them
constexpr unsigned most_jobs = 8;
using format::limits::sector;

// A part of a step that is treated alike.
struct Segment {
  Kind kind = Kind::data;
  std::size_t begin = 0, end = 0;  // in the step
};

struct StepSlot {
  std::uint64_t number = 0;
  CopyStep step;
  std::unique_ptr<std::byte[]> memory, other;
  std::vector<Segment> segments;
  std::vector<std::vector<std::byte>> streams;  // a cluster each; empty: it does not shrink
};

class Copy {
 public:
  Copy(CopySource& source, const CopyTarget& target, const CopyOptions& options, base::Progress& progress)
      : source_(source),
        target_(target),
        options_(options),
        progress_(progress),
        unit_(target.compressed != nullptr ? target.compressed->geometry().cluster_size() : 1),
        piece_(std::max(piece_bytes, unit_)),
        jobs_(std::clamp(options.jobs != 0 ? options.jobs : base::default_jobs(), 1U, most_jobs)),
        plan_(source, unit_, piece_, options.zero_unit == 0, plan_lost()) {
    const std::uint64_t slots =
        std::clamp<std::uint64_t>(most_memory / piece_, 1, jobs_ == 1 ? 1 : 2 * jobs_);
    for (std::uint64_t i = 0; i < slots; ++i) free_.push_back(std::make_unique<StepSlot>());
  }

  base::Result<void> run();

 private:
  CopyPlan::Lost plan_lost();
  void work();
  std::unique_ptr<StepSlot> take();
  void keep_rate(std::uint64_t issued) const;
  base::Result<void> prepare(StepSlot& slot);
  base::Result<void> read(std::uint64_t at, base::MutableBytes into);
  base::Result<void> compare(StepSlot& slot, base::MutableBytes bytes);
  void find_zeros(StepSlot& slot, base::ConstBytes bytes) const;
  void drop_short_zeros(StepSlot& slot) const;
  void compress(StepSlot& slot, base::ConstBytes bytes) const;
  base::Result<void> write(const StepSlot& slot);
  base::Result<void> write_streams(const StepSlot& slot, const Segment& segment);
  void finish(std::unique_ptr<StepSlot> slot, base::Result<void> result);
  void fail(std::uint64_t number, base::Error error);
  // Zeros are looked for in pieces of so many bytes, aligned.
  [[nodiscard]] std::size_t scanned_unit() const {
    constexpr std::size_t page = 4096;
    if (target_.compressed != nullptr) return static_cast<std::size_t>(unit_);
    return options_.zero_unit % page == 0 ? page : sector;
  }

  CopySource& source_;
  const CopyTarget& target_;
  const CopyOptions& options_;
  base::Progress& progress_;
  const std::uint64_t unit_, piece_;
  const unsigned jobs_;
  const std::chrono::steady_clock::time_point started_ = std::chrono::steady_clock::now();
  LostRanges lost_;

  std::mutex mutex_;  // of all below
  std::condition_variable freed_;
  CopyPlan plan_;
  std::vector<std::unique_ptr<StepSlot>> free_;
  std::map<std::uint64_t, std::unique_ptr<StepSlot>> ready_;
  std::uint64_t taken_ = 0;    // steps
  std::uint64_t written_ = 0;  // steps, all before this one
  std::uint64_t issued_ = 0;   // bytes of data
  bool writing_ = false;
  bool ended_ = false;  // no step is taken any more
  std::optional<std::pair<std::uint64_t, base::Error>> error_;
};

CopyPlan::Lost Copy::plan_lost() {
  if (!options_.lost) return {};
  return [this](std::uint64_t at, std::uint64_t length, const base::Error& why) {
    lost_.add(at, length, why.message);
  };
}

base::Result<void> Copy::run() {
  progress_.expect(source_.size());
  {
    std::vector<std::jthread> threads;
    for (unsigned i = 1; i < jobs_; ++i) threads.emplace_back([this] { work(); });
    work();
  }
  if (error_) return std::unexpected(std::move(error_->second));
  if (options_.lost) lost_.each(options_.lost);
  return {};
}

void Copy::work() {
  while (auto slot = take()) {
    auto result = prepare(*slot);
    finish(std::move(slot), std::move(result));
  }
}

std::unique_ptr<StepSlot> Copy::take() {
  std::unique_lock lock(mutex_);
  freed_.wait(lock, [this] { return ended_ || !free_.empty(); });
  if (!ended_ && progress_.stop_requested())
    fail(taken_, {base::ErrorKind::cancelled, "stopped: the target is not complete", 0});
  if (ended_) return nullptr;
  const auto step = plan_.next();
  if (!step) fail(taken_, step.error());
  if (!step || !*step) {
    ended_ = true;
    freed_.notify_all();
    return nullptr;
  }
  auto slot = std::move(free_.back());
  free_.pop_back();
  slot->number = taken_++;
  slot->step = **step;
  const bool moves = slot->step.kind == Kind::data || slot->step.kind == Kind::compared;
  const std::uint64_t before = issued_;
  if (moves) issued_ += slot->step.length;
  lock.unlock();
  if (moves && options_.rate != 0) keep_rate(before);
  return slot;
}

// Waits until so many bytes may have been read.
void Copy::keep_rate(std::uint64_t issued) const {
  using Seconds = std::chrono::duration<double>;
  const Seconds due(static_cast<double>(issued) / static_cast<double>(options_.rate));
  constexpr Seconds look_up(0.1);  // for a request to stop
  while (!progress_.stop_requested()) {
    const Seconds left = due - (std::chrono::steady_clock::now() - started_);
    if (left.count() <= 0) return;
    std::this_thread::sleep_for(std::min(left, look_up));
  }
}

base::Result<void> Copy::prepare(StepSlot& slot) {
  slot.segments.clear();
  slot.streams.clear();
  const auto length = static_cast<std::size_t>(slot.step.length);
  if (slot.step.kind == Kind::kept) return {};
  if (slot.step.kind == Kind::zero) {
    slot.segments.push_back({Kind::zero, 0, length});
    return {};
  }
  const auto size = static_cast<std::size_t>(piece_);
  if (!slot.memory) slot.memory = std::make_unique_for_overwrite<std::byte[]>(size);
  const auto bytes = base::MutableBytes(slot.memory.get(), size).first(length);
  if (auto done = read(slot.step.at, bytes); !done) return done;
  if (slot.step.kind == Kind::compared) return compare(slot, bytes);
  find_zeros(slot, bytes);
  if (target_.compressed != nullptr) compress(slot, bytes);
  return {};
}

// What can't be read is looked for by halving, where it may be lost.
base::Result<void> Copy::read(std::uint64_t at, base::MutableBytes into) {
  auto done = source_.read(at, into);
  if (done || !options_.lost) return done;
  if (into.size() <= sector) {
    lost_.add(at, into.size(), done.error().message);
    std::ranges::fill(into, std::byte{0});
    return {};
  }
  const std::size_t half = std::bit_floor(into.size() - 1);
  if (auto first = read(at, into.first(half)); !first) return first;
  return read(at + half, into.subspan(half));
}

// What the target shows already is not written. Zeros are not looked for: they differ, or they are shown.
base::Result<void> Copy::compare(StepSlot& slot, base::MutableBytes bytes) {
  const auto size = static_cast<std::size_t>(piece_);
  if (!slot.other) slot.other = std::make_unique_for_overwrite<std::byte[]>(size);
  const auto other = base::MutableBytes(slot.other.get(), size).first(bytes.size());
  const std::uint64_t end = target_.below != nullptr ? target_.below->size() : 0;
  const auto there = static_cast<std::size_t>(
      slot.step.at < end ? std::min<std::uint64_t>(end - slot.step.at, bytes.size()) : 0);
  std::ranges::fill(other.subspan(there), std::byte{0});
  if (there != 0)
    if (auto done = target_.below->read(base::GuestOffset{slot.step.at}, other.first(there)); !done)
      return done;
  const std::size_t unit = scanned_unit();
  for (std::size_t at = 0; at < bytes.size(); at += unit) {
    const std::size_t end_at = std::min(bytes.size(), at + unit);
    if (std::ranges::equal(bytes.subspan(at, end_at - at), other.subspan(at, end_at - at))) continue;
    if (!slot.segments.empty() && slot.segments.back().end == at)
      slot.segments.back().end = end_at;
    else
      slot.segments.push_back({Kind::data, at, end_at});
  }
  if (target_.compressed != nullptr) compress(slot, bytes);
  return {};
}

void Copy::find_zeros(StepSlot& slot, base::ConstBytes bytes) const {
  if (options_.zero_unit == 0) {
    slot.segments.push_back({Kind::data, 0, bytes.size()});
    return;
  }
  const std::size_t unit = scanned_unit();
  for (std::size_t at = 0; at < bytes.size();) {
    const std::size_t end = std::min<std::size_t>(
        bytes.size(), at + (unit - static_cast<std::size_t>((slot.step.at + at) % unit)));
    const Kind kind = base::all_zero(bytes.subspan(at, end - at)) ? Kind::zero : Kind::data;
    if (!slot.segments.empty() && slot.segments.back().kind == kind)
      slot.segments.back().end = end;
    else
      slot.segments.push_back({kind, at, end});
    at = end;
  }
  if (options_.zero_unit > unit && target_.compressed == nullptr) drop_short_zeros(slot);
}

// Zeros between data that are too few are data; those at the borders may go on in the neighbouring steps.
void Copy::drop_short_zeros(StepSlot& slot) const {
  std::vector<Segment> kept;
  for (std::size_t i = 0; i < slot.segments.size(); ++i) {
    auto segment = slot.segments[i];
    const bool inside = i != 0 && i + 1 < slot.segments.size();
    if (segment.kind == Kind::zero && inside && segment.end - segment.begin < options_.zero_unit)
      segment.kind = Kind::data;
    if (!kept.empty() && kept.back().kind == segment.kind)
      kept.back().end = segment.end;
    else
      kept.push_back(segment);
  }
  slot.segments = std::move(kept);
}

// A stream for each cluster of the segments with data, in order.
void Copy::compress(StepSlot& slot, base::ConstBytes bytes) const {
  const auto unit = static_cast<std::size_t>(unit_);
  for (const auto& segment : slot.segments) {
    if (segment.kind != Kind::data) continue;
    for (std::size_t at = segment.begin; at < segment.end; at += unit) {
      const auto cluster = bytes.subspan(at, std::min(unit, segment.end - at));
      if (cluster.size() == unit) {
        slot.streams.push_back(target_.compressed->compress(cluster));
        continue;
      }
      // The source's last cluster. If the target goes on behind it, that stays.
      if (target_.disk.size() > source_.size()) {
        slot.streams.emplace_back();
        continue;
      }
      std::vector<std::byte> whole(unit);
      std::ranges::copy(cluster, whole.begin());
      slot.streams.push_back(target_.compressed->compress(whole));
    }
  }
}

base::Result<void> Copy::write(const StepSlot& slot) {
  for (const auto& segment : slot.segments) {
    const base::GuestOffset at{slot.step.at + segment.begin};
    base::Result<void> done;
    std::unique_lock<std::shared_mutex> lock;
    if (target_.changing != nullptr) lock = std::unique_lock(*target_.changing);
    if (segment.kind == Kind::data && target_.compressed != nullptr) {
      done = write_streams(slot, segment);
    } else if (segment.kind == Kind::data) {
      done = target_.disk.write(at, {slot.memory.get() + segment.begin, segment.end - segment.begin});
    } else if (!target_.reads_zero) {
      done = target_.disk.zero(at, segment.end - segment.begin, Unmap::yes);
    }
    if (done) continue;
    auto error = done.error();
    error.message = fmt::format("{}: error while writing at byte {}: {}", base::escape(target_.name),
                                at.raw(), error.message);
    return std::unexpected(std::move(error));
  }
  return {};
}

base::Result<void> Copy::write_streams(const StepSlot& slot, const Segment& segment) {
  const auto unit = static_cast<std::size_t>(unit_);
  std::size_t stream = 0;
  for (const auto& other : slot.segments) {
    if (other.begin >= segment.begin) break;
    if (other.kind == Kind::data) stream += (other.end - other.begin + unit - 1) / unit;
  }
  for (std::size_t at = segment.begin; at < segment.end; at += unit, ++stream) {
    const base::GuestOffset place{slot.step.at + at};
    const auto done =
        slot.streams[stream].empty()
            ? target_.disk.write(place, {slot.memory.get() + at, std::min(unit, segment.end - at)})
            : target_.compressed->write_precompressed(place, slot.streams[stream]);
    if (!done) return done;
  }
  return {};
}

void Copy::finish(std::unique_ptr<StepSlot> slot, base::Result<void> result) {
  std::unique_lock lock(mutex_);
  if (!result) {
    fail(slot->number, std::move(result.error()));
    slot->segments.clear();
  }
  ready_.emplace(slot->number, std::move(slot));
  if (writing_) return;
  writing_ = true;
  while (!ready_.empty() && ready_.begin()->first == written_) {
    auto next = std::move(ready_.begin()->second);
    ready_.erase(ready_.begin());
    // What comes behind an error is not written.
    if (!error_ || error_->first > next->number) {
      lock.unlock();
      auto done = write(*next);
      progress_.advance(next->step.length);
      lock.lock();
      if (!done) fail(next->number, std::move(done.error()));
    }
    ++written_;
    free_.push_back(std::move(next));
    freed_.notify_one();
  }
  writing_ = false;
}

// Under the lock.
void Copy::fail(std::uint64_t number, base::Error error) {
  if (!error_ || number < error_->first) error_.emplace(number, std::move(error));
  ended_ = true;
  freed_.notify_all();
}

}  // namespace

base::Result<void> copy_disk(CopySource& source, const CopyTarget& target, const CopyOptions& options,
                             base::Progress& progress) {
  return Copy(source, target, options, progress).run();
}

}  // namespace cowvet::engine
