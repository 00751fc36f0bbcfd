// One cursor walks both mappings and hands out pieces, in ascending order, to threads that read and compare them. The
// least offset at which anything happened, difference or failure, is the answer; the cursor goes no further then.
#include "engine/compare.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <mutex>
#include <vector>

#include "base/parallel.hpp"
#include "format/geometry.hpp"

namespace cowvet::engine {

namespace {

constexpr std::uint64_t least_chunk = 256ULL << 10;  // bytes read at once, of each disk
constexpr std::uint64_t window = 64ULL << 20;  // asked of a mapping at once, so that stopping does not wait

using Answer = std::expected<Comparison, CompareFailure>;

// How a run of one disk is stored.
struct State {
  std::uint64_t end = 0;  // guest offset
  bool allocated = false, data = false, zero = true, compressed = false, reserved = false;
  bool hole =
      false;  // a plain cluster without space in the file: allocated all the same, but not worth reading
  // Whether its bytes have to be read.
  [[nodiscard]] bool unknown() const { return data && !zero && !hole; }
  [[nodiscard]] bool same_as(const State& other) const {
    return allocated == other.allocated && data == other.data && zero == other.zero &&
           compressed == other.compressed && reserved == other.reserved;
  }
};

// The mapping of one disk, asked in ascending order.
class Side {
 public:
  explicit Side(OpenImage& image) : image_(image), size_(image.disk().size()) {}

  [[nodiscard]] std::uint64_t size() const { return size_; }
  [[nodiscard]] const Disk& disk() const { return image_.disk(); }
  [[nodiscard]] std::uint64_t largest_cluster() const {
    std::uint64_t largest = 0;
    for (OpenImage* layer = &image_; layer != nullptr; layer = layer->backing())
      if (const auto* disk = layer->qcow2()) largest = std::max(largest, disk->geometry().cluster_size());
    return largest;
  }

  // The state at `at`; behind the disk's end nothing is stored.
  [[nodiscard]] base::Result<State> state(std::uint64_t at) {
    if (at >= size_) return State{.end = UINT64_MAX};
    if (at < known_.end) return known_;
    const auto found = chain_extent(image_, base::GuestOffset{at}, std::min(window, size_ - at));
    if (!found) return std::unexpected(found.error());
    const auto& e = found->extent;
    known_ = {.end = at + e.length,
              .allocated = e.allocated,
              .data = e.data,
              .zero = e.zero || !e.data,
              .compressed = e.compressed,
              .reserved = e.zero && e.host};
    if (e.data && !e.zero && e.host) look_into_file(*found, at);
    return known_;
  }

 private:
  // Plain clusters that lie in a hole of the file read as zeros.
  void look_into_file(const ChainExtent& found, std::uint64_t at) {
    OpenImage* layer = &image_;
    for (std::size_t i = 0; i < found.depth; ++i) layer = layer->backing();
    const auto* disk = layer->qcow2();
    const std::uint64_t host = found.extent.host->raw();
    if (disk == nullptr || disk->header().external_data_file() || disk->header().v2.crypt_method != 0 ||
        host >= layer->device().size())
      return;
    const auto part = layer->device().extent(host);
    known_.hole = part.hole;
    known_.end = std::min(known_.end, at + (part.end - host));
  }

  OpenImage& image_;
  std::uint64_t size_;
  State known_;
};

class Comparer {
 public:
  Comparer(OpenImage& first, OpenImage& second, bool strict, base::Progress& progress)
      : sides_{Side(first), Side(second)},
        end_(std::max(sides_[0].size(), sides_[1].size())),
        strict_(strict),
        progress_(progress) {
    for (const auto& side : sides_) chunk_ = std::max(chunk_, side.largest_cluster());
    progress.expect(end_);
  }

  Answer run(unsigned jobs) {
    const std::uint64_t common = std::min(sides_[0].size(), sides_[1].size());
    if (strict_ && common != end_)
      return Comparison{
          .difference = Comparison::Difference::size, .offset = common, .common_part_same = false};
    base::parallel_for(jobs, jobs, [&](std::size_t, unsigned) { work(); });
    if (!answer_)
      return progress_.stop_requested()
                 ? Answer(std::unexpected(CompareFailure{.error = {base::ErrorKind::cancelled, "stopped"}}))
                 : Answer(Comparison{.common_part_same = true});
    if (*answer_) (*answer_)->common_part_same = answer_at_ >= common;
    return *answer_;
  }

 private:
  struct Piece {
    std::uint64_t at = 0, length = 0;
    std::array<bool, 2> read = {};  // which sides; the other is known to be zeros
  };

  // The lowest offset's answer counts, and of one offset's the first.
  void settle(std::uint64_t at, Answer answer) {
    if (answer_ && answer_at_ <= at) return;
    answer_ = std::move(answer);
    answer_at_ = at;
    at_ = std::max(at_, at);
  }
  void fail(std::uint64_t at, CompareFailure::Step step, bool second, base::Error error) {
    settle(at, std::unexpected(CompareFailure{step, second, at, std::move(error)}));
  }

  Piece next();
  void compare_piece(const Piece& piece, std::array<std::vector<std::byte>, 2>& buffers);
  void work() {
    std::array<std::vector<std::byte>, 2> buffers;
    for (auto piece = next(); piece.length != 0; piece = next()) compare_piece(piece, buffers);
  }

  std::array<Side, 2> sides_;
  std::uint64_t end_;
  bool strict_;
  base::Progress& progress_;
  std::uint64_t chunk_ = least_chunk;

  std::mutex mutex_;  // for all that follows, and for asking sides_ of their states
  std::uint64_t at_ = 0;
  std::optional<Answer> answer_;
  std::uint64_t answer_at_ = 0;
};

// The next bytes that must be read; of length 0 when there are none.
Comparer::Piece Comparer::next() {
  const std::lock_guard lock(mutex_);
  Piece piece{.at = at_};
  while (at_ < end_ && !answer_ && !progress_.stop_requested()) {
    std::array<State, 2> states;
    for (const std::size_t i : {0U, 1U}) {
      auto state = sides_[i].state(at_);
      if (!state) {
        fail(at_, CompareFailure::Step::allocation, i == 1, std::move(state.error()));
        return piece;
      }
      states[i] = *state;
    }
    if (strict_ && !states[0].same_as(states[1])) {
      settle(at_, Comparison{.difference = Comparison::Difference::allocation, .offset = at_});
      return piece;
    }
    std::uint64_t stop = std::min({states[0].end, states[1].end, end_});
    const std::array<bool, 2> read{states[0].unknown(), states[1].unknown()};
    if (read[0] || read[1]) {
      stop = std::min(stop, (at_ / chunk_ + 1) * chunk_);
      if (piece.length == 0) piece = {.at = at_, .length = 0, .read = read};
      if (read != piece.read) break;
      piece.length += stop - at_;
    } else {
      if (piece.length != 0) break;
      progress_.advance(stop - at_);
    }
    at_ = stop;
    if (piece.length != 0 && at_ % chunk_ == 0) break;
  }
  return piece;
}

void Comparer::compare_piece(const Piece& piece, std::array<std::vector<std::byte>, 2>& buffers) {
  const auto length = static_cast<std::size_t>(piece.length);
  for (const std::size_t i : {0U, 1U}) {
    if (!piece.read[i]) continue;
    buffers[i].resize(static_cast<std::size_t>(chunk_));
    // A disk of the other's length or more: what is unknown lies within it.
    auto read =
        sides_[i].disk().read(base::GuestOffset{piece.at}, base::MutableBytes(buffers[i]).first(length));
    if (read) continue;
    const std::lock_guard lock(mutex_);
    return fail(piece.at, CompareFailure::Step::content, i == 1, std::move(read.error()));
  }
  progress_.advance(piece.length);
  const bool both = piece.read[0] && piece.read[1];
  const auto same = [&](std::size_t at, std::size_t size) {
    return both ? std::memcmp(buffers[0].data() + at, buffers[1].data() + at, size) == 0
                : base::all_zero(base::ConstBytes(buffers[piece.read[0] ? 0 : 1]).subspan(at, size));
  };
  if (same(0, length)) return;
  constexpr std::size_t sector = format::limits::sector;
  std::size_t at = 0;
  while (same(at, std::min(sector, length - at))) at += sector;
  const std::lock_guard lock(mutex_);
  settle(piece.at + at, Comparison{.difference = Comparison::Difference::content, .offset = piece.at + at});
}

}  // namespace

Answer compare(OpenImage& first, OpenImage& second, const CompareOptions& options, base::Progress& progress) {
  return Comparer(first, second, options.strict, progress).run(options.jobs);
}

}  // namespace cowvet::engine
