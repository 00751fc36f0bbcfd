#include "storage/device.hpp"

namespace cowvet::storage {

namespace {
base::Result<void> read_only() { return base::fail(base::ErrorKind::usage, "opened read-only"); }
}  // namespace

ReadRequest Device::read(std::uint64_t offset, base::MutableBytes into) const {
  ReadRequest request{.offset = offset, .into = into};
  read({&request, 1});
  return request;
}

base::Result<void> Device::write(std::uint64_t, base::ConstBytes) { return read_only(); }
base::Result<void> Device::resize(std::uint64_t) { return read_only(); }
base::Result<void> Device::flush() { return {}; }

}  // namespace cowvet::storage
