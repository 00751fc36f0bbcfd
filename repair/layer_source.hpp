// A layer of a damaged image as something to copy: what can be read as data, what is lost as zeros, and what the target
// shows already from the layer that was copied before as kept. Promises: every range's fate is told; reads
// are safe from several threads.
#pragma once
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "engine/cipher.hpp"
#include "engine/copy_source.hpp"
#include "repair/layer_map.hpp"
#include "repair/view.hpp"
#include "repair/walk.hpp"

namespace cowvet::repair {

// Pieces of a layer, asked for in ascending order.
class PieceCursor {
 public:
  PieceCursor(const View& view, const Layer& layer) : walk_(view, layer) {}
  // The piece that holds `at`, from there on; nothing behind the layer's end. `at` never goes back.
  [[nodiscard]] std::optional<Piece> at(std::uint64_t at);

 private:
  Walk walk_;
  std::optional<Piece> piece_;
};

// Whether both are stored at the same place, or nowhere with the same result.
[[nodiscard]] bool same_place(const Piece& a, const Piece& b);

struct LayerOptions {
  const Layer* previous = nullptr;  // of the same view: the target shows it now
  // The same image without inference, and the layer there: what it shows differently, or not, is inferred.
  const View* plain = nullptr;
  const Layer* plain_layer = nullptr;
  const engine::Disk* below = nullptr;  // the backing file, if its content is copied as well
  bool target_backed = false;           // otherwise: the target has a backing file, which shows through
  // When given: the target is an earlier copy, and this says what became of it. Only what was lost is copied.
  const LayerMap* earlier = nullptr;
  std::shared_ptr<const engine::Cipher> cipher = nullptr;
  // When given: says what of each piece can be had, as the image's metadata alone does not.
  std::function<Piece(const Piece&)> judge = {};
};

class LayerSource final : public engine::CopySource {
 public:
  // Of the layer's disk. All of it must outlive this.
  LayerSource(const View& view, const Layer& layer, const LayerOptions& options);

  [[nodiscard]] std::uint64_t size() const override { return layer_.size; }
  [[nodiscard]] base::Result<engine::CopyRun> run(std::uint64_t at, std::uint64_t most) override;
  [[nodiscard]] base::Result<void> read(std::uint64_t at, base::MutableBytes into) const override;
  [[nodiscard]] std::uint64_t granule() const override { return format::limits::sector; }

  // When all was asked for: what became of the disk, as far as the metadata decides it.
  [[nodiscard]] LayerMap& map() { return map_; }
  // The ranges that the target shows from the layer before.
  [[nodiscard]] const std::vector<FateRange>& kept() const { return kept_; }

 private:
  struct Told {
    Piece piece;
    engine::CopyRun::Kind kind = engine::CopyRun::Kind::data;
    std::uint64_t weight = 0;  // bytes told before it that may be under way
  };
  [[nodiscard]] Told tell(std::uint64_t at);
  [[nodiscard]] engine::CopyRun::Kind kind_of(const Piece& piece, const Piece* previous) const;
  void note(const Piece& piece, const Piece* plain, bool kept);
  [[nodiscard]] base::Result<void> read_piece(const Piece& piece, std::uint64_t at,
                                              base::MutableBytes into) const;

  const View& view_;
  const Layer& layer_;
  const LayerOptions options_;
  PieceCursor pieces_;
  std::optional<PieceCursor> previous_, plain_;
  mutable std::mutex mutex_;
  std::deque<Told> told_;  // ascending, without gaps; the newest reach to horizon_
  std::uint64_t horizon_ = 0;
  LayerMap map_;
  std::vector<FateRange> kept_;
};

// Whether the layer leaves open what the layer before stores, so that nothing that is written over that shows
// the same in a target with a backing file.
[[nodiscard]] bool needs_emptying(const View& view, const Layer& previous, const Layer& layer);

}  // namespace cowvet::repair
