#include "engine/slot.hpp"

namespace cowvet::engine {

std::string_view SlotRules::fault(const Slot& slot, std::uint64_t guest) const {
  const auto& entry = slot.entry;
  if (entry.compressed()) {
    if (data_file) return "a compressed cluster in an image with an external data file";
    if (slot.pieces.word != 0) return "a compressed cluster with subclusters";
    if (geometry.compressed_range(entry).offset.raw() >> 56 != 0)
      return "a compressed cluster's offset above 2^56";
    return {};
  }
  const auto place = host(slot);
  if (geometry.extended_l2()) {
    if ((slot.pieces.allocated() & slot.pieces.zero()) != 0) return "a subcluster that is both data and zero";
    if (slot.pieces.allocated() != 0 && !place) return "subclusters with data but without a place";
    if (entry.zero()) return "bit 0 in an extended L2 entry";
  } else if (entry.zero() && !zero_flag) {
    return "a zero cluster in a version 2 image";
  }
  if (!place) {
    if (entry.copied() && zero(slot) != all()) return "a cluster whose offset is lost";
    return {};
  }
  if (data(slot) == 0) return {};  // nothing is read from there
  if (!geometry.aligned(*place)) return "a data cluster at an unaligned offset";
  if (data_file && place->raw() != guest) return "a data cluster at another offset than the guest's";
  return {};
}

std::string_view SlotRules::doubt(const Slot& slot) const {
  if (slot.entry.compressed()) return {};
  if (slot.entry.reserved() != 0) return "reserved bits in an L2 entry";
  if (const auto place = host(slot); place && !geometry.aligned(*place))
    return "an unaligned offset in an L2 entry";
  return {};
}

}  // namespace cowvet::engine
