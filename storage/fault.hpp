// A device that fails where and when it is told to: for proofs that no failure is overlooked. Promises: what a fault
// does not touch works as it does underneath; the same accesses meet the same faults.
#pragma once
#include <cerrno>
#include <mutex>
#include <vector>

#include "storage/wrapper.hpp"

namespace cowvet::storage {

struct Fault {
  // Zeroing counts as a write.
  enum class Operation : std::uint8_t { read, write, resize, flush, discard, preallocate };
  // fail: the bytes inside the range fail with `os_error`; a change has then done what lies before the range.
  // cut:  nothing is said. A read finds the device's end where the range begins; a change loses what lies behind that
  //       place; a resize or flush is not done at all.
  enum class Effect : std::uint8_t { fail, cut };

  Operation operation = Operation::read;
  // Bytes [begin, end); an access counts when it touches one of them. Resize and flush always count.
  std::uint64_t begin = 0;
  std::uint64_t end = UINT64_MAX;
  std::uint64_t nth = 1;    // the first access that fails, counting from 1; each request of a batch is one
  bool persistent = false;  // false: only that one; true: all from there on
  Effect effect = Effect::fail;
  int os_error = EIO;
};

class FaultDevice final : public Wrapper {
 public:
  FaultDevice(Device& under, const std::vector<Fault>& faults);

  using Wrapper::read;
  void read(std::span<ReadRequest> batch) const override;
  [[nodiscard]] base::Result<void> write(std::uint64_t offset, base::ConstBytes bytes) override;
  [[nodiscard]] base::Result<void> resize(std::uint64_t size) override;
  [[nodiscard]] base::Result<void> flush() override;
  [[nodiscard]] base::Result<void> discard(std::uint64_t offset, std::uint64_t length) override;
  [[nodiscard]] base::Result<void> zero(std::uint64_t offset, std::uint64_t length) override;
  [[nodiscard]] base::Result<void> preallocate(std::uint64_t offset, std::uint64_t length) override;

  // How often a fault struck.
  [[nodiscard]] std::uint64_t strikes() const;

 private:
  struct Armed {
    Fault fault;
    std::uint64_t seen = 0;
  };
  // One change of `length` bytes from `offset`: done as far as no fault strikes it. `change` does a length from there.
  template <class Change>
  base::Result<void> hurt_change(Fault::Operation operation, const char* what, std::uint64_t offset,
                                 std::uint64_t length, const Change& change);
  // Counts the access [begin, end) and returns the first fault that strikes it, nullptr for none.
  const Fault* strike(Fault::Operation operation, std::uint64_t begin, std::uint64_t end) const;

  mutable std::mutex mutex_;
  mutable std::vector<Armed> faults_;  // its length is fixed
  mutable std::uint64_t strikes_ = 0;
};

}  // namespace cowvet::storage
