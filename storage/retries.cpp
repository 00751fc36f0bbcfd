#include "storage/retries.hpp"

namespace cowvet::storage {

void Retries::read(std::span<ReadRequest> batch) const {
  under_.read(batch);
  for (auto& request : batch) {
    for (unsigned i = 0; i < times_ && request.os_error != 0; ++i) {
      // The rest arrived: only what failed is asked for again.
      const std::uint64_t begin = request.bad_begin;
      ReadRequest again{.offset = request.offset + begin,
                        .into = request.into.subspan(static_cast<std::size_t>(begin),
                                                     static_cast<std::size_t>(request.bad_end - begin))};
      under_.read(std::span(&again, 1));
      request.os_error = again.os_error;
      request.bad_end = again.os_error != 0 ? begin + again.bad_end : 0;
      request.bad_begin = again.os_error != 0 ? begin + again.bad_begin : 0;
      if (again.os_error == 0) ++recovered_;
    }
  }
}

}  // namespace cowvet::storage
