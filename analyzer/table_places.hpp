// Where orphan L2 tables belong: at L1 entries that lead nowhere. Promises: a place is given only with the evidence for
// it; where nothing tells, all possible places are counted against all tables that want one.
#pragma once
#include <span>

#include "analyzer/cluster_kinds.hpp"
#include "analyzer/naming.hpp"
#include "analyzer/orphan.hpp"

namespace cowvet::analyzer {

class TablePlaces {
 public:
  // cut: entries that point past the end of the file lead to a table that is gone, not to an orphan.
  TablePlaces(Image& image, MappingWalk& walk, const MetadataMap& metadata, bool cut);

  // Places those orphans that are not placed yet. They are in order of their clusters.
  [[nodiscard]] base::Result<void> place(std::span<Orphan> orphans);

 private:
  struct Position {  // an L1 entry that leads nowhere
    std::uint64_t index = 0;
    std::uint32_t tree = 0;
  };
  struct Table {  // that an entry of the active L1 table leads to
    std::uint64_t index = 0, cluster = 0;
  };
  [[nodiscard]] base::Result<void> read_active();
  [[nodiscard]] base::Result<void> place_by_copies(std::span<Orphan> orphans);
  void leave_out_end(std::span<const Orphan* const> orphans);
  void place_by_order(std::span<Orphan*> orphans);
  void place_within(std::span<Orphan*> orphans, std::span<const std::uint64_t> positions, const char* by);
  [[nodiscard]] findings::GuestRange range(std::uint64_t index, const Tree& tree) const;
  [[nodiscard]] bool vacant(format::L1Entry entry) const;

  Image& image_;
  MappingWalk& walk_;
  const MetadataMap& metadata_;
  const format::Geometry geometry_;
  Naming naming_;
  const bool cut_;
  std::vector<std::uint64_t> positions_;  // of the active layer, ascending
  std::vector<Table> tables_;             // of the active layer, by index
};

}  // namespace cowvet::analyzer
