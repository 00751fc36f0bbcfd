// Records what is done to a device, in order, so that every state a crash may leave behind can be built from it.
// Promises: an event is recorded when, and only when, the device said that it succeeded.
#pragma once
#include <mutex>
#include <vector>

#include "storage/wrapper.hpp"

namespace cowvet::storage {

struct Event {
  enum class Kind : std::uint8_t { write, resize, flush };
  Kind kind = Kind::write;
  std::uint64_t position = 0;    // write: its offset; resize: the new size
  std::vector<std::byte> bytes;  // write only
  friend bool operator==(const Event&, const Event&) = default;
};

class Recorder final : public Wrapper {
 public:
  using Wrapper::Wrapper;

  [[nodiscard]] base::Result<void> write(std::uint64_t offset, base::ConstBytes bytes) override;
  [[nodiscard]] base::Result<void> resize(std::uint64_t size) override;
  [[nodiscard]] base::Result<void> flush() override;

  // What was done since the beginning.
  [[nodiscard]] std::vector<Event> events() const;

 private:
  mutable std::mutex mutex_;  // held over the operation itself: the record's order is the device's
  std::vector<Event> events_;
};

}  // namespace cowvet::storage
