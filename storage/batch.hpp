// How a batch of reads becomes few accesses and survives bad ones. Promises: requests that lie near each other are
// joined into one access; a failed access is narrowed down, so that only bytes that can't be read are missing.
// Knows no file: the access itself is handed in.
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include <sys/uio.h>

#include "storage/device.hpp"

namespace cowvet::storage {

// Sets what a read hands out, as for a device of `size` bytes before anything was read: `valid` is cut at the end of
// the device, the bytes behind it are zeros, no error, no hole.
void prepare(ReadRequest& request, std::uint64_t size);

// Marks the whole valid range as a hole and fills it with zeros.
void answer_hole(ReadRequest& request);

// Requests that one access serves: [begin, end) on the device, for members order[first] to order[last - 1].
struct Run {
  std::uint64_t begin = 0, end = 0;
  std::size_t first = 0, last = 0;
};

// Gaps up to this many bytes are read along with their neighbours: copying them costs less than another access.
inline constexpr std::uint64_t joined_gap = 4096;
inline constexpr std::uint64_t longest_run = 1024 * 1024;
inline constexpr std::size_t most_run_members = 64;

// Sorts `order` (indices into `batch`, each with valid > 0) by offset and cuts it into runs. A run is longer than
// `longest_run` only when it has one member.
[[nodiscard]] std::vector<Run> plan_runs(std::span<const ReadRequest> batch,
                                         std::vector<std::uint32_t>& order);

// What a vectored read of one run is given: the members' own buffers, and one buffer in which all gaps end.
class RunVector {
 public:
  void set(std::span<const ReadRequest> batch, std::span<const std::uint32_t> order, const Run& run,
           std::span<std::byte, joined_gap> gap);
  [[nodiscard]] const iovec* data() const { return parts_.data(); }
  [[nodiscard]] unsigned count() const { return count_; }

 private:
  std::array<iovec, 2 * most_run_members> parts_;
  unsigned count_ = 0;
};

// One access: reads up to into.size() bytes at `offset`. Returns their number, 0 at the end, or a negative errno.
using Access = std::function<std::int64_t(std::uint64_t offset, base::MutableBytes into)>;

// Serves one prepared request, however many accesses it takes. Bytes that can't be read are found by halving the
// range down to sectors of 512 bytes; when `patience` accesses have failed, what is left is given up as bad, so that
// a dead disk does not hold the reader for hours.
void read_patiently(ReadRequest& request, const Access& access, unsigned patience = 256);

}  // namespace cowvet::storage
