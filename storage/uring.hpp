// Reads through io_uring: many accesses under way at once from one thread. Promises: safe from several threads (each
// read takes a ring of its own from a pool); where the kernel allows no ring, nothing is pretended.
#pragma once
#include <functional>
#include <memory>
#include <span>

#include "storage/batch.hpp"

namespace cowvet::storage {

class Rings {
 public:
  // Nothing when built without liburing or when the kernel refuses a ring.
  static std::unique_ptr<Rings> create();
  virtual ~Rings() = default;

  // Reads `runs`; calls `failed` for each that did not arrive whole, its members then being untold.
  virtual void read(int fd, std::span<const ReadRequest> batch, std::span<const std::uint32_t> order,
                    std::span<const Run> runs, const std::function<void(const Run&)>& failed) = 0;
};

}  // namespace cowvet::storage
