// What each layer of an image shows, however damaged the image is: metadata only, read as it stands. Promises: no
// engine and no check has a part in it, so that it can be held against both; memory is small whatever the image
// claims; what a careful reader may not serve is told as lost, with the reason, never as zeros. Nothing is written.
#pragma once
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.hpp"
#include "base/result.hpp"
#include "base/units.hpp"
#include "format/compression.hpp"
#include "format/geometry.hpp"
#include "format/header.hpp"
#include "format/snapshot.hpp"
#include "repair/owned_clusters.hpp"
#include "storage/device.hpp"

namespace cowvet::repair {

// The active disk or an internal snapshot.
struct Layer {
  std::string snapshot;  // the snapshot's id, raw bytes; "" is the active layer
  std::string name;      // the snapshot's, raw bytes
  base::HostOffset l1;
  std::uint64_t l1_entries = 0;
  std::uint64_t size = 0;      // of the disk, bytes
  std::uint64_t vm_state = 0;  // where the VM state begins, guest bytes; equal to `end` when there is none
  std::uint64_t end = 0;       // of everything that is mapped: the disk, then the VM state
  std::optional<format::Snapshot> entry = {};  // of the snapshot table
  std::string_view damage = {};  // why nothing of it can be told; empty when its L1 table looks like one
};

// Guest bytes that one layer stores in one way.
struct Piece {
  enum class Kind : std::uint8_t {
    unallocated,  // the layer below decides
    zero,
    data,
    compressed,  // (a part of) one cluster
    lost,
  };
  std::uint64_t begin = 0, length = 0;  // guest bytes
  Kind kind = Kind::unallocated;
  std::uint64_t host = 0;     // data: of the first byte; compressed: of the stream
  std::uint64_t payload = 0;  // compressed: bytes that the descriptor gives the stream
  // Lost: why. Otherwise: why this is what the metadata says most likely, but not for certain; empty when it
  // is certain.
  std::string_view why = {};
  bool without_table =
      false;  // the L1 entry decides, no L2 table has a say in it (as the walk gives it, before visit)

  [[nodiscard]] std::uint64_t end() const { return begin + length; }
  [[nodiscard]] bool readable() const { return kind != Kind::lost; }
};

// Whether the second piece is the first one's continuation.
[[nodiscard]] bool continues(const Piece& first, const Piece& second);

// What a read did not get.
struct Unread {
  std::uint64_t begin = 0, end = 0;  // of the bytes that were asked for; the others were read
  std::string why;
};

struct ViewOptions {
  const storage::Device* data_file = nullptr;  // the external one; without it its clusters can't be read
};

class View {
 public:
  // As the file's own header says. Error wrong_format: there is no header that can be used.
  [[nodiscard]] static base::Result<View> open(const storage::Device& device,
                                               const ViewOptions& options = {});
  // As this header says, whatever stands in the file. Its cluster size must be a possible one (Geometry::make).
  View(const storage::Device& device, const format::Header& header, const format::Geometry& geometry,
       const ViewOptions& options = {});

  [[nodiscard]] const format::Header& header() const { return header_; }
  [[nodiscard]] const format::Geometry& geometry() const { return geometry_; }
  [[nodiscard]] const storage::Device& device() const { return device_; }
  // Where data clusters lie; null: in another file, which was not given.
  [[nodiscard]] const storage::Device* data() const;
  // Where that ends, bytes; endless when it was not given.
  [[nodiscard]] std::uint64_t data_end() const;
  [[nodiscard]] bool has_backing() const { return header_.v2.backing_file_offset.raw() != 0; }

  // The active layer, then the snapshots that can be found, in the order of their table.
  [[nodiscard]] const std::vector<Layer>& layers() const { return layers_; }
  // Whether the snapshot table could be read to the end.
  [[nodiscard]] bool snapshots_complete() const { return snapshots_complete_; }
  // A snapshot of this image by an entry that was found elsewhere.
  [[nodiscard]] Layer layer_of(const format::Snapshot& snapshot) const;

  // Whether the host cluster at `host` holds metadata of the header and the layers above, as far as that is known.
  [[nodiscard]] bool owned(std::uint64_t host) const {
    return owned_.first_in(host, host + 1, geometry_).has_value();
  }

  // All pieces of [0, layer.end) in order, without gaps; runs that continue each other come as one. Stops when `use`
  // answers false.
  void visit(const Layer& layer, const std::function<bool(const Piece&)>& use) const;

  // The piece's bytes from `offset` on: as they lie in the file, and so encrypted where the image is. Zeros for what is
  // zero or not allocated in this layer; and for what could not be read, which is told. Safe from several threads.
  [[nodiscard]] std::optional<Unread> read(const Piece& piece, std::uint64_t offset,
                                           base::MutableBytes into) const;

 private:
  friend class Walk;
  void find_snapshots();
  [[nodiscard]] std::string_view l1_damage(const Layer& layer) const;
  [[nodiscard]] std::optional<Unread> read_stream(const Piece& piece, std::uint64_t offset,
                                                  base::MutableBytes into) const;

  const storage::Device& device_;
  format::Header header_;
  format::Geometry geometry_;
  ViewOptions options_;
  std::vector<Layer> layers_;
  OwnedClusters owned_;
  bool snapshots_complete_ = true;
};

}  // namespace cowvet::repair
