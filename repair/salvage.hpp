// Everything that can be read of an image, into new ones: each layer's content, with the fate of every range. Promises:
// the image is only read; a range that can't be read is zeros in the copy and told as lost, never anything else; what
// layers share in the image they share in the copy.
#pragma once
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/progress.hpp"
#include "base/result.hpp"
#include "engine/cipher.hpp"
#include "engine/qcow2_disk.hpp"
#include "repair/layer_map.hpp"
#include "repair/layer_source.hpp"
#include "repair/view.hpp"

namespace cowvet::repair {

struct SalvagedLayer {
  Layer layer;
  LayerMap map;                // of the disk
  std::uint64_t vm_state = 0;  // bytes of VM state that the layer has
  std::uint64_t vm_lost = 0;   // bytes of them that could not be read
  std::string id = {};         // of the snapshot in the copy
};

struct SalvageOptions {
  std::shared_ptr<const engine::Cipher> cipher = nullptr;  // of the image's data
  const engine::Disk* below = nullptr;  // the backing file, when its content is copied as well
  bool target_backed = false;           // otherwise: the target has a backing file
  bool compress = false;
  // Of salvage_layer(): the target is an earlier copy of the layer, of which this is the map, as long as the
  // layer. What was lost is tried again, and nothing else is read or written.
  const LayerMap* earlier = nullptr;
  std::function<Piece(const Piece&)> judge = {};  // of salvage_layer(): see LayerOptions
  unsigned jobs = 0;                              // threads; 0: as many as there are cores
};

// The image as the salvage reads it.
struct Readable {
  const View& best;   // with everything that was inferred
  const View* plain;  // as the file's own header says; null: it has none that can be used
  // The layer of `plain` that shows the same as this one of `best`; null: there is none.
  [[nodiscard]] const Layer* plain_layer(const Layer& layer) const;
};

// Copies one layer's disk into `target`, which was just made (or see `earlier`) and is at least as long.
[[nodiscard]] base::Result<SalvagedLayer> salvage_layer(const Readable& image, const Layer& layer,
                                                        engine::Disk& target, engine::Qcow2Disk* compressed,
                                                        const SalvageOptions& options,
                                                        base::Progress& progress);

// Copies all layers: each snapshot is written and taken in turn, and the active layer last. The target was just made.
[[nodiscard]] base::Result<std::vector<SalvagedLayer>> salvage_all(const Readable& image,
                                                                   engine::Qcow2Disk& target,
                                                                   const SalvageOptions& options,
                                                                   base::Progress& progress);

}  // namespace cowvet::repair
