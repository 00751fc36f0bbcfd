#include "storage/batch.hpp"

#include <algorithm>
#include <cerrno>

namespace cowvet::storage {

namespace {

constexpr std::uint64_t sector = 512;
constexpr std::uint64_t page = 4096;

// Reads one request, halving what fails.
class Patient {
 public:
  Patient(ReadRequest& request, const Access& access, unsigned patience)
      : request_(request), access_(access), patience_(patience) {}

  // Serves bytes [at, end) of the request.
  void serve(std::uint64_t at, std::uint64_t end) {
    end = std::min(end, request_.valid);
    while (at < end) {
      const std::int64_t got =
          patience_ > 0 ? access_(request_.offset + at, part(at, end)) : -std::int64_t{request_.os_error};
      if (got > 0) {
        at += static_cast<std::uint64_t>(got);
      } else if (got == 0) {
        zero(at, request_.into.size());
        request_.valid = at;  // the device became shorter
      } else if (got != -EINTR) {
        return failed(at, end, static_cast<int>(-got));
      }
      end = std::min(end, request_.valid);
    }
  }

 private:
  void failed(std::uint64_t at, std::uint64_t end, int os_error) {
    if (request_.os_error == 0) request_.os_error = os_error;
    if (patience_ > 0) --patience_;
    const std::uint64_t middle = halfway(at, end);
    if (patience_ == 0 || middle <= at || middle >= end) {
      zero(at, end);
      if (request_.bad_end == 0) request_.bad_begin = at;
      request_.bad_end = end;
      return;
    }
    serve(at, middle);
    serve(middle, end);
  }

  // Where to cut [at, end): on a boundary of pages while it is longer than one, then of sectors.
  [[nodiscard]] std::uint64_t halfway(std::uint64_t at, std::uint64_t end) const {
    const std::uint64_t from = request_.offset + at;
    const std::uint64_t to = request_.offset + end;
    const std::uint64_t unit = to - from > page ? page : sector;
    std::uint64_t cut = (from + (to - from) / 2) & ~(unit - 1);
    if (cut <= from) cut = (from & ~(unit - 1)) + unit;
    return cut - request_.offset;
  }

  [[nodiscard]] base::MutableBytes part(std::uint64_t at, std::uint64_t end) const {
    return request_.into.subspan(static_cast<std::size_t>(at), static_cast<std::size_t>(end - at));
  }
  void zero(std::uint64_t at, std::uint64_t end) const { std::ranges::fill(part(at, end), std::byte{0}); }

  ReadRequest& request_;
  const Access& access_;
  unsigned patience_;
};

}  // namespace

void prepare(ReadRequest& request, std::uint64_t size) {
  const std::uint64_t there = request.offset < size ? size - request.offset : 0;
  request.valid = std::min<std::uint64_t>(there, request.into.size());
  request.os_error = 0;
  request.hole = false;
  request.bad_begin = request.bad_end = 0;
  std::ranges::fill(request.into.subspan(static_cast<std::size_t>(request.valid)), std::byte{0});
}

void answer_hole(ReadRequest& request) {
  request.hole = true;
  std::ranges::fill(request.into, std::byte{0});
}

std::vector<Run> plan_runs(std::span<const ReadRequest> batch, std::vector<std::uint32_t>& order) {
  const auto by_offset = [&](std::uint32_t index) { return batch[index].offset; };
  if (!std::ranges::is_sorted(order, {}, by_offset)) std::ranges::sort(order, {}, by_offset);
  std::vector<Run> runs;
  for (std::size_t i = 0; i < order.size(); ++i) {
    const auto& request = batch[order[i]];
    const std::uint64_t end = request.offset + request.valid;
    if (!runs.empty()) {
      Run& run = runs.back();
      if (request.offset >= run.end && request.offset - run.end <= joined_gap &&
          end - run.begin <= longest_run && run.last - run.first < most_run_members) {
        run.end = end;
        run.last = i + 1;
        continue;
      }
    }
    runs.push_back({request.offset, end, i, i + 1});
  }
  return runs;
}

void RunVector::set(std::span<const ReadRequest> batch, std::span<const std::uint32_t> order, const Run& run,
                    std::span<std::byte, joined_gap> gap) {
  count_ = 0;
  std::uint64_t at = run.begin;
  for (const auto index : order.subspan(run.first, run.last - run.first)) {
    const auto& request = batch[index];
    if (request.offset > at) parts_[count_++] = {gap.data(), static_cast<std::size_t>(request.offset - at)};
    parts_[count_++] = {request.into.data(), static_cast<std::size_t>(request.valid)};
    at = request.offset + request.valid;
  }
}

void read_patiently(ReadRequest& request, const Access& access, unsigned patience) {
  Patient(request, access, patience).serve(0, request.valid);
  if (request.bad_end == 0) request.os_error = 0;  // it passed when it was tried again
}

}  // namespace cowvet::storage
