// Disks that an image held once: tables that nothing refers to any more, counted or not, put together and held against
// what uses the file now. Promises: the image is only read; a cluster that something else uses now is never taken for
// the old disk's; memory is some bits for each cluster of the file, and what the tables found take.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "base/progress.hpp"
#include "base/result.hpp"
#include "format/snapshot.hpp"
#include "repair/view.hpp"

namespace cowvet::repair {

// How an old disk's content fares now, in bytes of the disk.
struct CarvedBytes {
  std::uint64_t intact = 0;  // nothing uses their place
  std::uint64_t shared =
      0;  // the disk or a snapshot has them at the same place: later writes may have changed them
  std::uint64_t lost = 0;  // something else lies there now, or nothing does, or their table can't be read
};

struct CarvedDisk {
  enum class Kind : std::uint8_t {
    snapshot,  // its entry of an old snapshot table was found too
    l1_table,  // an L1 table leads to it
    tables,    // L2 tables alone: each is placed where the tables in use that it resembles are
  };
  Kind kind = Kind::l1_table;
  Layer layer;               // to be read with Carving::view()
  std::uint64_t tables = 0;  // L2 tables
  CarvedBytes bytes;
  // From 0 to 1: the share of what was stored that nothing else uses now, what is shared counting half.
  [[nodiscard]] double confidence() const;
};

// Told the pieces of a layer in ascending order, says what of each can be had: the piece, or its beginning.
using Judge = std::function<Piece(const Piece&)>;

class Carving {
 public:
  // Looks through the whole file. `image` outlives the result. Errors: wrong_format, without a usable header; limit,
  // when the file has too many clusters; cancelled.
  [[nodiscard]] static base::Result<std::unique_ptr<Carving>> run(const storage::Device& image,
                                                                  base::Progress& progress);
  Carving(const Carving&) = delete;
  Carving& operator=(const Carving&) = delete;
  ~Carving();

  // The most promising one first; only what has something that the present does not have.
  [[nodiscard]] const std::vector<CarvedDisk>& disks() const;
  // L2 tables whose place in a disk nothing tells.
  [[nodiscard]] std::uint64_t unplaced() const;
  // Of the image, with the L1 tables that were put together.
  [[nodiscard]] const View& view() const;
  // For the pieces of a carved disk, from its beginning on.
  [[nodiscard]] Judge judge() const;

 private:
  class Impl;
  explicit Carving(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace cowvet::repair
