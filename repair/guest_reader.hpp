// A guest's disk for those who look for file systems in it. Promises: a read says whether all of it is known.
#pragma once
#include <cstdint>

#include "base/bytes.hpp"

namespace cowvet::repair {

class GuestReader {
 public:
  virtual ~GuestReader() = default;
  [[nodiscard]] virtual std::uint64_t size() const = 0;  // bytes
  // Bytes that are found or lost together: nothing that is longer can be proved at once.
  [[nodiscard]] virtual std::uint64_t unit() const = 0;
  // False where a part of it is not known, or behind the end of the disk.
  [[nodiscard]] virtual bool read(std::uint64_t offset, base::MutableBytes into) const = 0;

 protected:
  GuestReader() = default;
  GuestReader(const GuestReader&) = default;
  GuestReader(GuestReader&&) = default;
  GuestReader& operator=(const GuestReader&) = default;
  GuestReader& operator=(GuestReader&&) = default;
};

}  // namespace cowvet::repair
