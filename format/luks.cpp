#include "format/luks.hpp"

namespace cowvet::format {

std::optional<Luks> decode_luks(base::ConstBytes region) {
  auto bytes = base::prefix<luks_header_size>(region);
  if (!bytes) return std::nullopt;
  Luks luks{decode<LuksHeader>(bytes->first<disk_size<LuksHeader>>()), {}};
  auto slots = bytes->subspan<disk_size<LuksHeader>>();
  for (std::size_t i = 0; i < luks_slots; ++i) {
    auto slot = base::prefix<disk_size<LuksKeySlot>>(slots.subspan(i * disk_size<LuksKeySlot>));
    luks.slots[i] = decode<LuksKeySlot>(*slot);
  }
  return luks;
}

}  // namespace cowvet::format
