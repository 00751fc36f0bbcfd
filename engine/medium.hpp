// A device as the engine writes it. Promises: a read gives all bytes or an error that says what could not be
// read; a flush does nothing when nothing was written since the last one; after a failed flush, or a failed
// write that may or may not have happened and matters, every later change fails with the same error.
#pragma once
#include <cstdint>
#include <optional>
#include <string_view>

#include "base/bytes.hpp"
#include "base/result.hpp"
#include "storage/device.hpp"

namespace cowvet::engine {

class Medium {
 public:
  explicit Medium(storage::Device& device) : device_(device) {}

  [[nodiscard]] std::uint64_t size() const { return device_.size(); }
  [[nodiscard]] storage::Device& device() const { return device_; }

  // `what` names the bytes in the error: "L2 table".
  [[nodiscard]] base::Result<void> read(std::uint64_t offset, base::MutableBytes into,
                                        std::string_view what) const;
  [[nodiscard]] base::Result<void> write(std::uint64_t offset, base::ConstBytes bytes);
  // A write whose failure leaves two possible states of the image, both sound: nothing may be changed after it.
  [[nodiscard]] base::Result<void> write_or_end(std::uint64_t offset, base::ConstBytes bytes);
  // Makes the device reach to `end`, if it is shorter; the new bytes are zeros.
  [[nodiscard]] base::Result<void> reach(std::uint64_t end);
  [[nodiscard]] base::Result<void> resize(std::uint64_t size);
  [[nodiscard]] base::Result<void> preallocate(std::uint64_t offset, std::uint64_t length);
  // Gives space back where that is possible; the bytes are nobody's.
  void discard(std::uint64_t offset, std::uint64_t length);
  [[nodiscard]] base::Result<void> flush();

  // Whether changes are still possible.
  [[nodiscard]] base::Result<void> usable() const;
  void end(const base::Error& error);

 private:
  storage::Device& device_;
  bool unflushed_ = false;
  std::optional<base::Error> ended_;
};

// The error of a request that did not give all its bytes; nothing when it did. `what` as above.
[[nodiscard]] base::Result<void> complete(const storage::ReadRequest& request, std::string_view what);

}  // namespace cowvet::engine
