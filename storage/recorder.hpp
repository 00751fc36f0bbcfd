// Records what is done to a device, in order, so that every state a crash may leave behind can be built from it.
// Promises: an event is recorded when, and only when, the device said that it succeeded.
#pragma once
#include <mutex>
#include <vector>

#include "storage/wrapper.hpp"

namespace cowvet::storage {

struct Event {
  // zero: a write of zeros, as far as its state goes; preallocating is a resize where it grew the device, else nothing.
  enum class Kind : std::uint8_t { write, resize, flush, discard, zero };
  Kind kind = Kind::write;
  std::uint64_t position = 0;    // write, discard, zero: the offset; resize: the new size
  std::vector<std::byte> bytes;  // write only
  std::uint64_t length = 0;      // discard, zero: bytes
  friend bool operator==(const Event&, const Event&) = default;
};

class Recorder final : public Wrapper {
 public:
  using Wrapper::Wrapper;

  [[nodiscard]] base::Result<void> write(std::uint64_t offset, base::ConstBytes bytes) override;
  [[nodiscard]] base::Result<void> resize(std::uint64_t size) override;
  [[nodiscard]] base::Result<void> flush() override;
  [[nodiscard]] base::Result<void> discard(std::uint64_t offset, std::uint64_t length) override;
  [[nodiscard]] base::Result<void> zero(std::uint64_t offset, std::uint64_t length) override;
  [[nodiscard]] base::Result<void> preallocate(std::uint64_t offset, std::uint64_t length) override;

  // What was done since the beginning.
  [[nodiscard]] std::vector<Event> events() const;

 private:
  mutable std::mutex mutex_;  // held over the operation itself: the record's order is the device's
  std::vector<Event> events_;
};

}  // namespace cowvet::storage
