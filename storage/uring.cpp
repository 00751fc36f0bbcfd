#include "storage/uring.hpp"

#if COWVET_HAVE_URING

#include <algorithm>
#include <array>
#include <cerrno>
#include <mutex>
#include <utility>
#include <vector>

#include <liburing.h>

namespace cowvet::storage {

namespace {

constexpr unsigned depth = 32;  // accesses under way in one ring

class Ring {
 public:
  static std::unique_ptr<Ring> create() {
    auto ring = std::unique_ptr<Ring>(new Ring);
    ring->good_ = ::io_uring_queue_init(depth, &ring->ring_, 0) == 0;
    return ring->good_ ? std::move(ring) : nullptr;
  }
  Ring(const Ring&) = delete;
  Ring& operator=(const Ring&) = delete;
  ~Ring() {
    if (good_) ::io_uring_queue_exit(&ring_);
  }

  // False when the ring must not be used again.
  [[nodiscard]] bool read(int fd, std::span<const ReadRequest> batch, std::span<const std::uint32_t> order,
                          std::span<const Run> runs, const std::function<void(const Run&)>& failed) {
    under_way_.fill(nullptr);
    for (unsigned slot = 0; slot < depth; ++slot) idle_[slot] = slot;
    idle_count_ = depth;
    std::size_t next = 0;
    unsigned untold = 0;  // entries that the kernel has not taken yet
    while (next < runs.size() || idle_count_ < depth) {
      for (; idle_count_ > 0 && next < runs.size(); ++next, ++untold) {
        const unsigned slot = idle_[--idle_count_];
        under_way_[slot] = &runs[next];
        vectors_[slot].set(batch, order, runs[next], gap_);
        io_uring_sqe* entry = ::io_uring_get_sqe(&ring_);  // there are as many as slots
        ::io_uring_prep_readv(entry, fd, vectors_[slot].data(), vectors_[slot].count(), runs[next].begin);
        ::io_uring_sqe_set_data64(entry, slot);
      }
      const int told = ::io_uring_submit_and_wait(&ring_, 1);
      if (told >= 0) {
        untold -= static_cast<unsigned>(told);
      } else if (told != -EINTR && told != -EAGAIN && told != -EBUSY) {
        give_up(untold, failed);
        std::ranges::for_each(runs.subspan(next), failed);
        return false;
      }
      reap(failed);
    }
    return true;
  }

 private:
  Ring() = default;

  // Takes in what is done.
  void reap(const std::function<void(const Run&)>& failed) {
    io_uring_cqe* done = nullptr;
    while (::io_uring_peek_cqe(&ring_, &done) == 0) {
      const auto slot = static_cast<unsigned>(::io_uring_cqe_get_data64(done));
      const Run& run = *std::exchange(under_way_[slot], nullptr);
      const bool whole = done->res >= 0 && static_cast<std::uint64_t>(done->res) == run.end - run.begin;
      ::io_uring_cqe_seen(&ring_, done);
      idle_[idle_count_++] = slot;
      if (!whole) failed(run);
    }
  }

  // The kernel takes no more entries: waits for those it has, for it writes to their buffers, and fails the others.
  void give_up(unsigned untold, const std::function<void(const Run&)>& failed) {
    while (depth - idle_count_ > untold) {
      io_uring_cqe* done = nullptr;
      ::io_uring_wait_cqe(&ring_, &done);
      reap(failed);
    }
    for (const Run* run : under_way_)
      if (run != nullptr) failed(*run);
  }

  io_uring ring_{};
  bool good_ = false;
  std::array<RunVector, depth> vectors_;
  std::array<const Run*, depth> under_way_{};
  std::array<unsigned, depth> idle_{};  // the slots without an access; the first idle_count_ count
  unsigned idle_count_ = 0;
  std::array<std::byte, joined_gap> gap_;  // where all gaps end; nobody reads it
};

class RingPool final : public Rings {
 public:
  explicit RingPool(std::unique_ptr<Ring> first) { idle_.push_back(std::move(first)); }

  void read(int fd, std::span<const ReadRequest> batch, std::span<const std::uint32_t> order,
            std::span<const Run> runs, const std::function<void(const Run&)>& failed) override {
    auto ring = take();
    if (!ring) return static_cast<void>(std::ranges::for_each(runs, failed));
    if (!ring->read(fd, batch, order, runs, failed)) return;
    const std::scoped_lock lock(mutex_);
    idle_.push_back(std::move(ring));
  }

 private:
  std::unique_ptr<Ring> take() {
    {
      const std::scoped_lock lock(mutex_);
      if (!idle_.empty()) {
        auto ring = std::move(idle_.back());
        idle_.pop_back();
        return ring;
      }
    }
    return Ring::create();
  }

  std::mutex mutex_;
  std::vector<std::unique_ptr<Ring>> idle_;
};

}  // namespace

std::unique_ptr<Rings> Rings::create() {
  auto first = Ring::create();
  return first ? std::make_unique<RingPool>(std::move(first)) : nullptr;
}

}  // namespace cowvet::storage

#else

namespace cowvet::storage {

std::unique_ptr<Rings> Rings::create() { return nullptr; }

}  // namespace cowvet::storage

#endif
