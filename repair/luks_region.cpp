#include "repair/luks_region.hpp"

#include <algorithm>

#include "analyzer/luks_checks.hpp"
#include "format/luks.hpp"

namespace cowvet::repair {

namespace {
// Bytes: eight slots of the longest keys take 2 MiB. A damaged number must not claim the rest of a sparse file.
constexpr std::uint64_t longest_region = 64ULL << 20;
}  // namespace

std::optional<format::EncryptionExtension> find_luks_region(const Draft& draft) {
  std::optional<format::EncryptionExtension> found;
  const std::uint64_t step = draft.geometry().cluster_size();
  for (std::uint64_t at = step; at + format::luks_header_size <= draft.image().size();) {
    const auto extent = draft.image().extent(at);
    if (extent.hole) {
      at = std::max(at + step, extent.end / step * step);
      continue;
    }
    if (std::ranges::equal(draft.bytes(at, format::luks_magic.size()), format::luks_magic)) {
      const auto luks = format::decode_luks(draft.bytes(at, format::luks_header_size));
      const auto payload = luks && analyzer::is_luks1(*luks) ? analyzer::payload_of(*luks) : std::nullopt;
      if (payload && *payload <= std::min(longest_region, draft.image().size() - at)) {
        if (found) return std::nullopt;
        found = format::EncryptionExtension{.offset = base::HostOffset{at}, .length = *payload};
      }
    }
    at += step;
  }
  return found;
}

}  // namespace cowvet::repair
