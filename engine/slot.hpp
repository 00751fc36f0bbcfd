// An entry of an L2 table, standard or extended, and what it says of each of its pieces. Without extended entries a
// cluster has one piece. Promises: an entry that can't be read without guessing has no source.
#pragma once
#include <cstdint>
#include <optional>
#include <string_view>

#include "engine/table_cache.hpp"
#include "format/entries.hpp"
#include "format/geometry.hpp"

namespace cowvet::engine {

struct Slot {
  format::L2Entry entry;
  format::Subclusters pieces;  // zero without extended entries
  friend bool operator==(const Slot& a, const Slot& b) {
    return a.entry.word == b.entry.word && a.pieces.word == b.pieces.word;
  }
};

enum class Source : std::uint8_t {
  below,       // the backing file, or zeros without one
  zero,        //
  data,        // in the host cluster
  compressed,  // the whole cluster is a stream
};

// How slots are read in one image.
struct SlotRules {
  format::Geometry geometry;
  bool data_file = false;  // an external one: host offsets are guest offsets there
  bool zero_flag = true;   // version 3

  [[nodiscard]] std::uint32_t pieces() const {
    return geometry.extended_l2() ? format::subclusters_per_cluster : 1;
  }
  // A mask of all pieces.
  [[nodiscard]] std::uint32_t all() const { return geometry.extended_l2() ? ~0U : 1U; }
  [[nodiscard]] std::uint64_t piece_size() const { return geometry.subcluster_size(); }

  [[nodiscard]] Slot load(const Table& table, std::uint64_t index) const {
    if (!geometry.extended_l2()) return {{table.word(static_cast<std::size_t>(index))}, {}};
    return {{table.word(static_cast<std::size_t>(2 * index))},
            {table.word(static_cast<std::size_t>(2 * index + 1))}};
  }

  // The host cluster that belongs to the slot, with data or reserved. Not for compressed ones.
  [[nodiscard]] std::optional<base::HostOffset> host(const Slot& slot) const {
    if (slot.entry.compressed()) return std::nullopt;
    if (slot.entry.offset().raw() != 0 || (data_file && slot.entry.copied())) return slot.entry.offset();
    return std::nullopt;
  }
  // Masks of pieces. Not for compressed slots.
  [[nodiscard]] std::uint32_t data(const Slot& slot) const {
    if (geometry.extended_l2()) return slot.pieces.allocated();
    return host(slot) && !slot.entry.zero() ? 1 : 0;
  }
  [[nodiscard]] std::uint32_t zero(const Slot& slot) const {
    if (geometry.extended_l2()) return slot.pieces.zero();
    return slot.entry.zero() ? 1 : 0;
  }
  [[nodiscard]] Source source(const Slot& slot, std::uint32_t piece) const {
    if (slot.entry.compressed()) return Source::compressed;
    if ((data(slot) >> piece & 1) != 0) return Source::data;
    return (zero(slot) >> piece & 1) != 0 ? Source::zero : Source::below;
  }

  // What is wrong with the slot of the guest cluster at `guest`; empty when it can be read.
  [[nodiscard]] std::string_view fault(const Slot& slot, std::uint64_t guest) const;
  // What keeps the slot from being replaced: reading masks reserved bits, but what they meant is not ours to drop.
  [[nodiscard]] std::string_view doubt(const Slot& slot) const;
};

// Entries that a writer makes.
[[nodiscard]] inline Slot data_slot(base::HostOffset host, std::uint32_t data, std::uint32_t zero,
                                    bool extended) {
  return {{host.raw() | format::copied_flag}, {extended ? std::uint64_t{zero} << 32 | data : 0}};
}
[[nodiscard]] inline Slot zero_slot(bool extended) {
  return extended ? Slot{{0}, {0xffffffffULL << 32}} : Slot{{format::zero_flag}, {0}};
}

}  // namespace cowvet::engine
