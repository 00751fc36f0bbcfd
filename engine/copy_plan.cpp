#include "engine/copy_plan.hpp"

#include <algorithm>
#include <utility>

namespace cowvet::engine {

namespace {
constexpr std::uint64_t longest = 1ULL
                                  << 30;  // of a step that moves no data: progress is seen, and a stop obeyed
}  // namespace

base::Result<CopyRun> CopyPlan::look(std::uint64_t at, std::uint64_t most) {
  using Kind = CopyRun::Kind;
  auto run = source_.run(at, most);
  if (!run && lost_) {
    const std::uint64_t granule = source_.granule();
    const std::uint64_t length = std::min(most, granule - at % granule);
    lost_(at, length, run.error());
    run = CopyRun{Kind::zero, length};
  }
  if (run && run->kind == Kind::zero && write_zeros_) run->kind = Kind::data;
  return run;
}

// As look(), but ends at a unit's border, or with the source.
base::Result<CopyRun> CopyPlan::units(std::uint64_t at, std::uint64_t most) {
  auto run = look(at, most);
  if (!run || run->length == most || run->length % unit_ == 0) return run;
  if (run->length > unit_) {
    run->length -= run->length % unit_;
    return run;
  }
  // The unit is of several runs: it is copied whole unless they are of one kind.
  const std::uint64_t end = std::min(most, unit_);
  for (std::uint64_t done = run->length; done < end;) {
    const auto next = look(at + done, end - done);
    if (!next) return next;
    if (next->kind != run->kind) return CopyRun{CopyRun::Kind::data, end};
    done += next->length;
  }
  run->length = end;
  return run;
}

base::Result<std::optional<CopyStep>> CopyPlan::next() {
  using Kind = CopyRun::Kind;
  const std::uint64_t size = source_.size();
  if (at_ >= size) return std::nullopt;
  CopyStep step{Kind::data, at_, 0};
  std::uint64_t end = std::min(size, (at_ / piece_ + 1) * piece_);
  while (step.at + step.length < end) {
    const std::uint64_t from = step.at + step.length;
    auto run = ahead_.length != 0 ? base::Result<CopyRun>(std::exchange(ahead_, {Kind::data, 0}))
                                  : units(from, end - from);
    if (!run) {
      if (step.length != 0) break;  // the next step gets the error
      return std::unexpected(run.error());
    }
    if (step.length != 0 && run->kind != step.kind) {
      ahead_ = *run;
      break;
    }
    step.kind = run->kind;
    const bool moves = step.kind == Kind::data || step.kind == Kind::compared;
    if (!moves) end = std::min(size, (step.at / piece_ + longest / piece_) * piece_);
    if (run->length > end - from) {
      ahead_ = {run->kind, run->length - (end - from)};
      run->length = end - from;
    }
    step.length += run->length;
  }
  at_ += step.length;
  return step;
}

}  // namespace cowvet::engine
